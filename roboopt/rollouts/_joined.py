"""Episodes that ran apart, in one trajectory."""

from typing import Any

import numpy as np

from roboopt.data import Trajectory

FIELDS = (
    *("observations", "actions", "rewards", "efforts", "terminated", "success"),
    *("substep_observations", "substep_efforts"),
)


def joined(
    parts: list[tuple[np.ndarray, Trajectory]], max_steps: int | None
) -> Trajectory:
    """Return stacked episodes as if run side by side, padded to `max_steps`."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    runs = [run for _, run in parts]
    each = [
        np.full(len(x.actions), x.steps) if x.lengths is None else x.lengths
        for x in runs
    ]
    lengths = np.concatenate(each)[order]
    most = int(lengths.max()) if max_steps is None else max_steps

    def table(name: str) -> Any:
        values: list[Any] = [getattr(run, name) for run in runs]
        if name == "success" and any(x is not None for x in values):
            # Where no environment of a part has said anything, nothing succeeded.
            values = [
                np.zeros(len(run.actions), bool) if x is None else x
                for x, run in zip(values, runs, strict=True)
            ]
        if any(x is None for x in values):
            return None
        if name not in ("terminated", "success"):
            last = "edge" if "observations" in name else "constant"
            end = most + (name == "observations")
            values = [
                np.pad(
                    x, [(0, 0), (0, end - x.shape[1]), *[(0, 0)] * (x.ndim - 2)], last
                )
                for x in values
            ]
        return np.concatenate(values)[order]

    return Trajectory(
        **{name: table(name) for name in FIELDS},
        time_step=runs[0].time_step,
        lengths=None if (lengths == most).all() else lengths,
    )
