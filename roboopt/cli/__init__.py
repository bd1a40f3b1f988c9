"""The command line, `roboopt`."""

from roboopt.cli._main import main as main
