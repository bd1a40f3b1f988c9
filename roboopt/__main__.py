"""`python -m roboopt`: the command line."""

from roboopt.cli import main

if __name__ == "__main__":
    main()
