"""The error for what a user can mend."""


class RobooptError(ValueError):
    """An argument, file or environment that cannot be worked with.

    The message names the argument, the rule and the value. Any other exception is a
    bug.
    """
