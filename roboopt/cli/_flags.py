"""How the arguments of the commands are shown in their help."""

from typing import Any

import tyro


def shown_as(metavar: str, default: str = "") -> Any:
    """Return what makes tyro show an argument as `metavar`, and its default in words.

    Args:
        metavar: what the user puts there.
        default: what holds where it is left out.
    """
    hint = f"(default: {default})" if default else None
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)
