"""A robot that is not known exactly: masses, damping and friction drawn at random.

A controller tuned on one robot can rely on numbers that the real robot does not have.
Tuned over many robots, each drawn for one start, it cannot (Peng et al., 2018,
Sim-to-real transfer of robotic control with dynamics randomization). The draws are
uniform within a share of each number, as `randomize` of the environments draws them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, per_axis
from roboopt._errors import delay_range, require
from roboopt.dynamics._twin import Twin
from roboopt.dynamics._wrapped import WrappedDynamics


class Randomized(WrappedDynamics):
    """A twin whose numbers a `Rollout` draws for each start, with the rollout's key.

    Called by itself, it is the twin with the numbers that it is given. `delay` and
    `noise` act on the policy of the rollout, as `policies.Delayed` and
    `policies.ObservationNoise` do.
    """

    twin: Twin
    mass: float = eqx.field(static=True)
    damping: float = eqx.field(static=True)
    friction: float = eqx.field(static=True)
    delay: tuple[float, float] = eqx.field(static=True)
    noise: tuple[float, ...] = eqx.field(static=True)
    merges: bool = eqx.field(static=True)

    def __init__(
        self,
        twin: Twin,
        *,
        mass: float = 0.0,
        damping: float = 0.0,
        friction: float = 0.0,
        delay: Any = 0.0,
        noise: Any = 0.0,
    ):
        """Draw numbers around those of `twin`.

        Args:
            twin: whose bodies are scaled each by its own factor, inertia included;
                without `merge_fixed` also those that are fixed to each other.
            mass: largest relative change of each body's mass and inertia.
            damping: likewise of each joint's viscous damping.
            friction: likewise of each joint's Coulomb friction.
            delay: of the actions [s], or the least and the largest.
            noise: standard deviation of the noise in the q and q̇ that the policy sees,
                or one for each of the first axes of an observation.

        Raises:
            RobooptError: if `twin` is no `Twin`, a change is not in [0, 1), or a delay
                or the noise is negative.
        """
        require(isinstance(twin, Twin), "twin", "be a `Twin`", type(twin))
        self.twin = twin
        self.mass, self.damping, self.friction = map(float, (mass, damping, friction))
        for name in ("mass", "damping", "friction"):
            value = getattr(self, name)
            require(0 <= value < 1, name, "be in [0, 1)", value)
        valid = lambda x: (x >= 0) & np.isfinite(x)  # noqa: E731
        scales = per_axis("noise", noise, "at least 0 and finite", valid).tolist()
        if not isinstance(scales, list):
            scales = [scales] * (2 * twin.joints)
        self.delay, self.noise = (
            delay_range(delay),
            tuple(scales) if any(scales) else (),
        )
        robot = twin.robot
        self.merges = not (float(robot.linear_damping) or float(robot.angular_damping))

    @property
    def inner(self) -> Any:
        """Return the twin with the numbers that it is given."""
        return self.twin

    def __getattr__(self, name: str) -> Any:
        """Return the `robot`, the `effort_limits` and the like of the twin."""
        if name.startswith("_") or name == "twin":
            raise AttributeError(name)
        return getattr(self.twin, name)

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later, with the numbers as given."""
        return self.twin(state, action)

    def draw(self, key: PRNGKeyArray) -> Twin:
        """Return a twin with numbers drawn at random."""
        robot = self.twin.robot
        sizes = robot.masses.shape, robot.damping.shape, robot.friction.shape
        most = self.mass, self.damping, self.friction
        keys = jax.random.split(key, 3)
        factors = (
            jax.random.uniform(own, shape, robot.masses.dtype, 1 - x, 1 + x)
            for own, shape, x in zip(keys, sizes, most, strict=True)
        )
        return self.scaled(*factors)

    def scaled(
        self,
        mass: Float[AnyArray, " body"],
        damping: Float[AnyArray, " joint"],
        friction: Float[AnyArray, " joint"],
    ) -> Twin:
        """Return the twin with its numbers multiplied by factors."""
        robot = self.twin.robot
        mass, damping, friction = map(jnp.asarray, (mass, damping, friction))
        robot = eqx.tree_at(
            lambda r: (r.masses, r.inertias, r.damping, r.friction),
            robot,
            (
                mass * robot.masses,
                mass[:, None, None] * robot.inertias,
                damping * robot.damping,
                friction * robot.friction,
            ),
        )
        if self.merges:
            robot = robot.merged()
        return eqx.tree_at(lambda t: t.robot, self.twin, robot)
