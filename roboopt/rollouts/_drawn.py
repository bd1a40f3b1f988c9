"""Dynamics that are drawn at random, wherever they are within other dynamics."""

from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from roboopt.dynamics import Randomized
from roboopt.policies import Delayed, ObservationNoise

WITHIN = "origin", "dynamics"  # fields of wrappers, such as `Held`


def randomized(dynamics: Any) -> Randomized | None:
    """Return the `Randomized` within a dynamics, None without one."""
    if isinstance(dynamics, Randomized):
        return dynamics
    inner = [vars(dynamics)[name] for name in WITHIN if name in vars(dynamics)]
    return randomized(inner[0]) if inner else None


def with_twin(dynamics: Any, twin: Any) -> Any:
    """Return a dynamics with `twin` in the place of its `Randomized`."""
    if isinstance(dynamics, Randomized):
        return twin
    (name,) = (name for name in WITHIN if name in vars(dynamics))
    inner = with_twin(getattr(dynamics, name), twin)
    return eqx.tree_at(lambda d: getattr(d, name), dynamics, inner)


def drawn(dynamics: Any, key: PRNGKeyArray) -> Any:
    """Return a dynamics whose `Randomized` is drawn with `key`."""
    found = randomized(dynamics)
    return dynamics if found is None else with_twin(dynamics, found.draw(key))


def disturbed(policy: Any, found: Randomized, time_step: float) -> Any:
    """Return a policy behind the noise and the delay of a `Randomized`."""
    if found.noise:
        policy = ObservationNoise(policy, found.noise)
    if found.delay[1]:
        settings = {"time_step": time_step, "action_size": found.action_size}
        policy = Delayed(policy, found.delay, **settings)
    return policy
