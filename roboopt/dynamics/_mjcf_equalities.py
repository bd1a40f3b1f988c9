"""MJCF's equality constraints that are linear in the joints, solved for some of them.

With joints counted from their reference, x = q − q_ref, a constraint of two joints is
x_1 = c_0 + c_1 x_2, and a fixed tendon has the length Σ w_i x_i from its reference.
All of them together are G x = b, which elimination solves for as many joints as there
are independent rows; each of them may then depend on one other joint.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError

CONNECT, WELD, JOINT, TENDON = range(4)  # mujoco.mjtEq
WRAP_JOINT = 1  # mujoco.mjtWrap.mjWRAP_JOINT
SITE = 6  # mujoco.mjtObj.mjOBJ_SITE
ROUNDING = 1e-9  # relative, below which a coefficient after elimination is zero


class Coupling(NamedTuple):
    """What the constraints leave of the joints; everything counts from the reference.

    A joint's number is MuJoCo's.
    """

    held: dict[int, float]
    """Joints that cannot move, and where they stand [rad or m]."""
    followers: dict[int, tuple[int, float, float]]
    """Joints that follow another: its number, k and c of x = k x_other + c."""


def couple(
    model: Any,
    names: Sequence[str],
    held: dict[int, float],
    driven: Sequence[bool],
    title: Any,
) -> Coupling:
    """Solve the linear constraints for joints, if possible for joints without a motor.

    Some joints are `held`, by number and where; `driven` ones have a motor, and `title`
    names a constraint, given its number.
    """
    rows = []
    for number in np.flatnonzero(model.eq_active0).tolist():
        if model.eq_type[number] in (JOINT, TENDON):
            row = _row(model, number, title(number))
            locked = sum(row[0][joint] * x for joint, x in held.items())
            row[0][list(held)] = 0.0
            rows.append([*row[0], row[1] - locked])
    if not rows:
        return Coupling(held, {})
    order = sorted(range(model.njnt), key=lambda j: (driven[j], -j))
    table, pivots = _eliminate(np.array(rows), order)
    if table[len(pivots) :].any():
        raise RobooptError(
            "`locked` must agree with the equality constraints of the MJCF, got joints "
            "that they do not let stand there."
        )
    held, followers = dict(held), {}
    for row, joint in zip(table, pivots, strict=False):
        others = [k for k in np.flatnonzero(row[:-1]).tolist() if k != joint]
        if len(others) > 1:
            raise RobooptError(
                "`path`: a joint must follow one other joint at most, got equality "
                f"constraints by which {names[joint]!r} follows "
                f"{[names[k] for k in others]}: hold some of them by `locked`."
            )
        if others:
            followers[joint] = others[0], -float(row[others[0]]), float(row[-1])
        else:
            held[joint] = float(row[-1])
    return Coupling(held, followers)


def _row(model: Any, number: int, title: str) -> tuple[np.ndarray, float]:
    """Return the coefficients (joint,) of a constraint, and what they sum to."""
    first, second = int(model.eq_obj1id[number]), int(model.eq_obj2id[number])
    data = model.eq_data[number]
    if data[2:5].any():
        raise RobooptError(
            f"`path`: {title} must be linear in the joints, got the polynomial "
            f"{data[:5].tolist()}."
        )
    term = _joint if model.eq_type[number] == JOINT else _tendon
    row = term(model, first, title)
    if second >= 0:
        row = row - data[1] * term(model, second, title)
    return row, float(data[0])


def _joint(model: Any, joint: int, title: str) -> np.ndarray:
    return np.eye(model.njnt)[joint]


def _tendon(model: Any, tendon: int, title: str) -> np.ndarray:
    wraps = range(model.tendon_num[tendon]) + model.tendon_adr[tendon]
    if (model.wrap_type[wraps] != WRAP_JOINT).any():
        raise RobooptError(
            f"`path`: {title} must be of tendons that are fixed to joints, got one "
            "that runs along sites."
        )
    row = np.zeros(model.njnt)
    np.add.at(row, model.wrap_objid[wraps], model.wrap_prm[wraps])
    return row


def _eliminate(table: np.ndarray, order: list[int]) -> tuple[np.ndarray, list[int]]:
    """Return [G b] reduced in this `order`, and the column of each first row."""
    pivots: list[int] = []
    scale = np.abs(table).max(initial=0.0) * ROUNDING
    for column in order:
        done = len(pivots)
        if done == len(table):
            break
        best = done + int(np.argmax(np.abs(table[done:, column])))
        if abs(table[best, column]) <= scale:
            continue
        table[[done, best]] = table[[best, done]]
        table[done] /= table[done, column]
        for other in range(len(table)):
            if other != done:
                table[other] -= table[other, column] * table[done]
        pivots.append(column)
    table[np.abs(table) <= scale] = 0.0
    return table, pivots


def require_open(model: Any, carriers: Sequence[int], title: Any) -> None:
    """Refuse constraints that close a loop of bodies, which these joints carry."""
    for number in np.flatnonzero(model.eq_active0).tolist():
        if model.eq_type[number] in (JOINT, TENDON):
            continue
        if model.eq_type[number] in (CONNECT, WELD):
            bodies = [model.eq_obj1id[number], model.eq_obj2id[number]]
            if model.eq_objtype[number] == SITE:
                bodies = [model.site_bodyid[site] for site in bodies]
            if carriers[bodies[0]] == carriers[bodies[1]]:
                continue  # Both bodies are parts of one.
        raise RobooptError(
            f"`path`: the bodies must form a tree, got {title(number)}: it closes a "
            "loop unless the joints between its bodies are in `locked`."
        )
