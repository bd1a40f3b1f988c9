"""What a reader has to say about a file: rules that it breaks, and what was changed."""

import warnings
from os import PathLike

MAX_NAMES, MAX_NAMES_OF_FAULT = 12, 3  # in one message, for each kind of change
_GIVEN: dict = {}  # the registry by which Python shows a warning once


class Fault(Exception):
    """A rule that a file breaks; `read_urdf` adds the name of the argument."""


class Notes:
    """Changes to what a file says, by kind, for one warning about the file."""

    def __init__(self):
        """Begin without notes."""
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note that `name` belongs to a kind of change, a noun phrase in the plural."""
        self._names.setdefault(kind, []).append(name)

    def warn(self, path: str | PathLike) -> None:
        """Give all notes as one `UserWarning`, each kind counted.

        The place of the warning is the file, so that it is shown once however often and
        from wherever the file is read.
        """
        if self._names:
            text = f"{path} has {self._text(MAX_NAMES)}."
            warnings.warn_explicit(text, UserWarning, str(path), 0, registry=_GIVEN)

    def beside(self, fault: Fault) -> str:
        """Return what a refusal says, and the notes, which may be its reason."""
        if not self._names:
            return str(fault)
        return f"{fault} The file also has {self._text(MAX_NAMES_OF_FAULT)}."

    def _text(self, most: int) -> str:
        parts = []
        for kind, names in self._names.items():
            more = len(names) - most
            shown = names[:most] + ([f"and {more} more"] if more > 0 else [])
            parts.append(f"{kind} ({len(names)}): {', '.join(shown)}")
        return "; ".join(parts)
