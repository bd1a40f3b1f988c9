"""HDF5 files that may come from a stranger.

HDF5 can take data from any other file, by links, external storage and virtual datasets,
run filters that are loaded as plugins, and claim sizes for which it holds no data. A
`Guard` hands out the members of a file that hold their own data, as far as all of them
together expand to no more than other compressed files may.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.data._files import expansion_limit, optional_package

FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf: those without plugins."""
MAX_ATTRIBUTE = 2**16  # elements
VARIABLE_SIZE = 4096  # bytes that a text of any length counts


class Guard:
    """The members of an open HDF5 file, each checked before it is read."""

    def __init__(self, path: Path):
        """Check members of the file at `path`."""
        self.path, self.left = path, expansion_limit(path)
        self._h5py: Any = optional_package("h5py", "HDF5", "h5py")

    def error(self, rule: str) -> RobooptError:
        """Return the error that says what is wrong with the file."""
        return RobooptError(
            f"`path` must be an HDF5 file that holds its own data, but {self.path} "
            f"{rule}."
        )

    def member(self, group: Any, name: str) -> Any:
        """Return a group or dataset in `group`, refused where its data lie elsewhere.

        Raises:
            RobooptError: if the member is a link, its data lie in another file, need a
                plugin, or expand too far.
        """
        link = group.get(name, getlink=True)
        if not isinstance(link, self._h5py.HardLink):
            raise self.error(f"has a link at {group.name}/{name}")
        found = group[name]
        if isinstance(found, self._h5py.Dataset):
            self._check(found)
        return found

    def members(self, group: Any) -> Iterator[tuple[str, Any]]:
        """Yield the names and members of a group."""
        return ((name, self.member(group, name)) for name in group)

    def check_all(self, group: Any) -> None:
        """Check every member below `group`, each once."""
        seen, waiting = set(), [group]
        while waiting:
            for _, member in self.members(waiting.pop()):
                place = self._h5py.h5o.get_info(member.id).addr
                if place not in seen and hasattr(member, "keys"):
                    waiting.append(member)
                seen.add(place)

    def attribute(self, owner: Any, name: str) -> Any:
        """Return an attribute, refused if it is large; None where there is none."""
        if name not in owner.attrs:
            return None
        shape = owner.attrs.get_id(name).shape
        if shape is None or math.prod(shape) > MAX_ATTRIBUTE:
            raise self.error(f"has an attribute {name} of shape {shape}")
        return owner.attrs[name]

    def _check(self, dataset: Any) -> None:
        where, made = dataset.name, dataset.id.get_create_plist()
        if dataset.is_virtual or made.get_external_count():
            raise self.error(f"takes {where} from another file")
        filters = {made.get_filter(k)[0] for k in range(made.get_nfilters())}
        if filters - FILTERS:
            raise self.error(f"needs the filters {sorted(filters - FILTERS)} ({where})")
        shape = dataset.shape or ()
        size = dataset.dtype.itemsize
        if dataset.dtype.hasobject:
            size = VARIABLE_SIZE
        # A chunk is read as a whole.
        elements = max(math.prod(shape), math.prod(dataset.chunks or ()))
        self.left -= elements * size
        if self.left < 0:
            raise self.error(f"claims to expand without end: {where} has shape {shape}")
