"""Steps in memory: a dict, a pair or an object for each, as loops of Gymnasium make.

Steps of one list lie end to end, and flags such as `done` tell where episodes end; a
list of such lists holds an episode each.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import equinox as eqx
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._boundaries import DONES, TERMINALS, TIMEOUTS
from roboopt.data.io._customary_names import meaning

EPISODES = ("observations", "actions")
SINGULAR = {"observation", "action", "act", "state", "next_observation"}
"""Names of what a step holds, and not an episode."""
STEPS = "steps"
PAIR = 2
MANY = 9  # axes, more than vectors have
ADVICE = (
    "Give a dict for each step, with `observation`, `action` and, for several "
    "episodes, `done`; or arrays by name, as {'observations': ..., 'actions': ...}."
)


def by_name(source: Any) -> Mapping[str, Any] | None:
    """Return what an object of observations and actions holds by name, or None."""
    if isinstance(source, Mapping):
        return source
    if isinstance(source, eqx.Module | type):
        return None
    fields = getattr(source, "_asdict", None)  # of a named tuple
    own = fields() if callable(fields) else getattr(source, "__dict__", {})
    found = own if isinstance(own, Mapping) else {}
    return found if {*EPISODES} <= {meaning(str(n)) for n in found} else None


def with_steps(source: Any) -> Any:
    """Return a source in memory, the steps of each episode put together by name.

    Args:
        source: of demonstrations. Generators and other iterables are read to their end.

    Raises:
        RobooptError: if the steps of a list do not hold the same, or are tuples of
            more than an observation and an action.
    """
    if isinstance(source, Mapping) and STEPS in source:  # as RLDS has it
        source = source[STEPS]
    if _is_iterable(source):
        source = [*source]
    if type(source) not in (list, tuple) or not len(source):
        return source
    steps = [*map(_is_step, source)]
    if all(steps):
        return _arrays([*map(_of_step, source)])
    if any(steps) and isinstance(other := source[steps.index(False)], Mapping):
        raise RobooptError(
            f"`path` must hold an observation and an action in each step, but step "
            f"{steps.index(False)} holds {', '.join(map(str, other)) or 'nothing'}. "
            f"{ADVICE}"
        )
    if type(source) is tuple:
        return source
    return [with_steps(one) if _may_hold_steps(one) else one for one in source]


def _is_iterable(source: Any) -> bool:
    """Return whether a source is a generator, or another iterable without a form."""
    known = isinstance(source, str | PathLike | Mapping | Sequence | eqx.Module)
    formed = known or hasattr(source, "shape") or hasattr(source, "columns")
    return isinstance(source, Iterable) and not formed and by_name(source) is None


def _may_hold_steps(one: Any) -> bool:
    rlds = isinstance(one, Mapping) and STEPS in one
    return rlds or type(one) is list or _is_iterable(one)


def _is_step(one: Any) -> bool:
    """Return whether an object holds one observation and one action.

    An episode of vectors holds them in two axes; one of single numbers has as many
    observations as actions, or one more.
    """
    if isinstance(one, tuple) and by_name(one) is None:
        if len(one) > PAIR and _sizes(one[0]) == 1 and _sizes(one[1]) < PAIR:
            raise RobooptError(
                "`path` must hold steps that name what they hold, but they are tuples "
                f"of {len(one)}. {ADVICE}"
            )
        return len(one) == PAIR and _sizes(one[0]) == 1 and _sizes(one[1]) < PAIR
    if (held := by_name(one)) is None:
        return False
    named = {meaning(str(name)): name for name in held}
    if not {*EPISODES} <= named.keys():
        return False
    seen, acted = (held[named[name]] for name in EPISODES)
    if _sizes(acted) > 1 or _sizes(seen) > 1:
        return False
    scalars = {n for n, own in named.items() if _sizes(held[own]) == 0}
    paid = {"rewards", *DONES} & scalars or (
        {*TERMINALS} & scalars and {*TIMEOUTS} & scalars
    )
    single = {*named.values()} & SINGULAR
    unlike = not isinstance(seen, Mapping) and len(np.atleast_1d(seen)) - len(
        np.atleast_1d(acted)
    ) not in (0, 1)
    return bool(_sizes(acted) == 0 or paid or single or unlike)


def _sizes(value: Any) -> int:
    """Return the axes of an array, or the fewest of those of a group."""
    if isinstance(value, Mapping):
        return min(map(_sizes, value.values()), default=1)
    try:
        return np.ndim(value)
    except ValueError:  # lists of different lengths
        return MANY


def _of_step(one: Any) -> Mapping[str, Any]:
    held = by_name(one)
    return dict(zip(EPISODES, one, strict=True)) if held is None else held


def _arrays(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of all steps by name, those of a group in a group."""
    names = {*steps[0]}
    for k, step in enumerate(steps):
        if other := sorted(map(str, names ^ {*step})):
            raise RobooptError(
                "`path` must hold the same in each step, but the first or step "
                f"{k} lacks {', '.join(other)}. {ADVICE}"
            )
    made: dict[str, Any] = {}
    for name in steps[0]:
        values = [step[name] for step in steps]
        if all(isinstance(value, Mapping) for value in values):
            alike = len({frozenset(value) for value in values}) == 1
            made[str(name)] = _arrays(values) if alike else None
            continue
        shapes = {np.shape(value) for value in values if _sizes(value) < MANY}
        if meaning(str(name)) in EPISODES and len(shapes) > 1:
            raise RobooptError(
                f"`path` must hold a `{name}` of one size in each step, got shapes "
                f"{', '.join(map(str, sorted(shapes)))}."
            )
        one_shape = len(shapes) == 1 and all(_sizes(v) < MANY for v in values)
        made[str(name)] = np.array(values) if one_shape else np.array(None)
    return {name: value for name, value in made.items() if value is not None}
