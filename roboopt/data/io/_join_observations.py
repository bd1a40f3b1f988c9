"""The observations under several names as one vector a sample."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import ReadOptions


def join_observations(
    arrays: Mapping[str, Any],
    keys: Sequence[str] | None,
    where: str,
    options: ReadOptions | None = None,
) -> np.ndarray:
    """Return the observations under `keys` as one vector a sample.

    Without keys these are all vectors; what is left out, such as images, is noted.
    """
    vectors = [
        name
        for name in sorted(arrays)
        if len(getattr(arrays[name], "shape", (0, 0, 0))) in (1, 2)
        and arrays[name].dtype.kind in "fiub"
    ]
    chosen = vectors if keys is None else list(keys)
    left_out = [name for name in sorted(arrays) if name not in vectors]
    if keys is None and left_out and options is not None:
        place = re.sub(r"demo_\d+ of ", "demo_… of ", where)
        names = ", ".join(left_out)
        options.note(f"{place}: {names} left out: images or groups, no vectors.")
    if unknown := [key for key in chosen if key not in arrays]:
        raise RobooptError(
            f"`observation_keys` must be among {sorted(arrays)} for {where}, not "
            f"{unknown}."
        )
    if other := [key for key in chosen if key not in vectors]:
        raise RobooptError(
            "`observation_keys` must name observations of one vector a sample, but in "
            f"{where} {', '.join(other)} is an image or nested; the vectors are "
            f"{vectors}."
        )
    if keys is not None and not chosen:
        raise RobooptError(
            f"`observation_keys` must name at least one observation of {where}."
        )
    if not chosen:
        raise RobooptError(
            f"`path` must hold vectors of observations, but {where} holds "
            f"{', '.join(sorted(arrays)) or 'nothing'}."
        )
    columns = [np.asarray(arrays[key][()]) for key in chosen]
    columns = [column.reshape(len(column), -1) for column in columns]
    if options is not None:
        each = zip(chosen, columns, strict=True)
        names = [name for key, column in each for name in numbered(key, column)]
        options.ordered("observations", names, where)
        options.names.setdefault("observations", names)
    return np.concatenate(columns, axis=1)


def numbered(key: str, columns: np.ndarray) -> list[str]:
    """Return the names of the columns of an array, (n, k): numbers behind its own."""
    key = key.removeprefix("observation.")
    count = columns.shape[1]
    return [key] if count == 1 else [f"{key}[{k}]" for k in range(count)]
