"""The command line, `roboopt`."""

from roboopt.cli._entry import main as main
