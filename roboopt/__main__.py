"""`python -m roboopt`: the command line."""

import sys

from roboopt.cli import main

if __name__ == "__main__":
    sys.exit(main())
