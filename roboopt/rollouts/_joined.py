"""Episodes that ran apart, in one trajectory."""

from typing import Any

import numpy as np

from roboopt.data import Trajectory


def joined(
    parts: list[tuple[np.ndarray, Trajectory]], max_steps: int | None
) -> Trajectory:
    """Return stacked episodes as if they had run side by side, padded to `max_steps`.

    The parts are the numbers of some episodes, from 0 without a gap, and their motions.
    """
    numbers = np.concatenate([rows for rows, _ in parts])
    runs = [run for _, run in parts]
    lengths = np.empty(len(numbers), int)
    lengths[numbers] = np.concatenate(
        [
            np.full(len(rows), run.steps) if run.lengths is None else run.lengths
            for rows, run in parts
        ]
    )
    most = int(lengths.max()) if max_steps is None else max_steps

    def table(name: str, steps: int | None = most) -> Any:
        values = [getattr(run, name) for run in runs]
        if name == "success" and any(x is not None for x in values):
            # Where no environment of a part has said anything, nothing succeeded.
            pairs = zip(values, parts, strict=True)
            values = [np.zeros(len(p[0]), bool) if x is None else x for x, p in pairs]
        if any(x is None for x in values):
            return None
        kind = np.result_type(*values)
        shape = values[0].shape[1:] if steps is None else (steps, *values[0].shape[2:])
        found = np.zeros((len(numbers), *shape), kind)
        own: Any
        for (rows, _), own in zip(parts, values, strict=True):
            if steps is None:
                found[rows] = own
                continue
            found[rows, : own.shape[1]] = own
            if "observations" in name:  # The last one stays.
                found[rows, own.shape[1] :] = own[:, -1:]
        return found

    return Trajectory(
        observations=table("observations", most + 1),
        actions=table("actions"),
        time_step=runs[0].time_step,
        rewards=table("rewards"),
        efforts=table("efforts"),
        substep_observations=table("substep_observations"),
        substep_efforts=table("substep_efforts"),
        terminated=table("terminated", None),
        success=table("success", None),
        lengths=None if (lengths == most).all() else lengths,
    )
