"""The twin with free parameters, to be fitted to recordings.

    commanded u → delay, lag, gain k, offset → effort τ → M(q) q̈ + h + d q̇ + c(q̇) = τ

Positions are measured as q + offset. Every free entry has a name, a unit and a
coordinate z in one vector, the only leaf that is trained. Masses, extents and the
velocity scales of friction are exponentials of their coordinates, and inertias have
log-Cholesky coordinates, so that every z is a possible robot; frictions, armatures and
times are bounded below by 0.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import Frozen, compiled
from roboopt._errors import RobooptError
from roboopt.dynamics import _log_cholesky as cholesky
from roboopt.dynamics import _parameters as parameters
from roboopt.dynamics._delay_and_lag import delayed, lagged
from roboopt.dynamics._friction import PARTS, dry_friction, rubbed
from roboopt.dynamics._held import Path
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._parameters import BODY_UNITS, GRAVITY_UNITS, quantity
from roboopt.dynamics._twin import Twin, with_implicit_damping
from roboopt.dynamics._wrapped import WrappedDynamics
from roboopt.urdf.friction import FrictionLaw


class ParametricTwin(WrappedDynamics):
    """A dynamics `model(state, action) -> next_state` whose named parameters are free.

    States are as measured: [q + position_offset, q̇]. An action is the commanded effort
    [N·m or N]. Lag and delay extend over steps: `commanded` applies them to a recorded
    sequence, as `PredictionError` does; a single call ignores them.
    """

    coordinates: Float[Array, " parameter"]
    origin: Frozen[Twin]
    given: Frozen[Float[Array, " entry"]]
    """The coordinates of every entry of `origin`, free or not."""
    columns: tuple[int, ...] = eqx.field(static=True)
    """For each entry its parameter, −1 if it is not free."""
    names: tuple[str, ...] = eqx.field(static=True)
    units: tuple[str, ...] = eqx.field(static=True)
    positive: tuple[bool, ...] = eqx.field(static=True)
    """Which parameters are exponentials of their coordinates."""
    flat: Frozen[Float[Array, "massive 3 3"]]
    """The part of flat bodies' inertias that their coordinates do not describe."""
    massive: tuple[int, ...] = eqx.field(static=True)
    """The bodies that have mass; the others stay as they are."""
    shares_derivatives: bool = eqx.field(static=True)
    """As of `Multibody`: whether a Jacobian has more columns than the state."""

    def __init__(
        self, twin: Twin, free: Sequence[str], *, ties: Sequence[Sequence[str]] = ()
    ):
        """Make the entries that match `free` the parameters of `twin`.

        Args:
            twin: the robot as it is known, from which the fit starts.
            free: names or patterns, such as "mass", "damping[joint_1]", "*[link_7]",
                "center_of_mass.*"; a name without brackets stands for all links or
                joints. `ParametricTwin.available(twin)` lists the names.
            ties: groups of names that share one parameter, which is added to each
                entry's own start (a factor, for masses and extents).

        Raises:
            RobooptError: if `free` or `ties` break their rules, or the twin has motors.
        """
        if twin.motors is not None:
            raise RobooptError(
                "`twin` must be driven by efforts, or by a drive with a loop of its "
                "own: PyBullet's motors hide the dynamics."
            )
        entries = parameters.entries(twin)
        groups = parameters.groups(entries, free, ties)
        columns = [-1] * len(entries)
        for number, group in enumerate(groups):
            for index in group:
                columns[index] = number
        first = [entries[group[0]] for group in groups]
        given = parameters.coordinates(twin)
        self.origin = Frozen(twin)
        self.massive = parameters.massive_bodies(twin.robot)
        self.given = Frozen(jnp.asarray(given))
        self.flat = Frozen(jnp.asarray(parameters.flat_remainders(twin.robot)))
        self.columns = tuple(columns)
        self.names = tuple(" = ".join(entries[i].name for i in g) for g in groups)
        self.units = tuple(entry.unit for entry in first)
        self.positive = tuple(quantity(e.name) in parameters.POSITIVE for e in first)
        self.coordinates = jnp.asarray(given[[group[0] for group in groups]])
        robot = twin.robot
        damped = float(robot.linear_damping) or float(robot.angular_damping)
        self.shares_derivatives = not damped and len(self.names) > 2 * twin.joints

    @staticmethod
    def available(twin: Twin) -> dict[str, str]:
        """Return the name and the unit of every entry that may be fitted."""
        return dict(parameters.entries(twin))

    @property
    def implicit_damping(self) -> bool:
        """Return whether damping acts on the velocity after a step, as in `Twin`."""
        return self.origin().implicit_damping

    @compiled
    def values(self) -> Float[Array, " parameter"]:
        """Return the parameters in their units; of tied entries the first."""
        positive = np.array(self.positive)
        return jnp.where(positive, jnp.exp(self.coordinates), self.coordinates)

    def lower(self) -> Float[np.ndarray, " parameter"]:
        """Return each coordinate's lower bound: 0 for frictions, armatures, times."""
        bounded = [quantity(name) in parameters.NOT_NEGATIVE for name in self.names]
        return np.where(bounded, 0.0, -np.inf)

    def upper(self) -> Float[np.ndarray, " parameter"]:
        """Return each coordinate's upper bound, of the share of a load's friction."""
        most = [parameters.LARGEST.get(quantity(name), np.inf) for name in self.names]
        return np.array(most)

    def spans(self) -> Float[np.ndarray, " parameter"]:
        """Return the error of each coordinate that would matter, as a scale.

        The scale is a factor e for a mass or an extent, the body's extent for a center
        of mass, and, for a joint, the effort of 1 rad/s² (or 1 m/s², at 1 rad/s or
        1 m/s) with the robot at q = 0.
        """
        robot = self.origin.value.robot
        matrix = robot.mass_matrix(jnp.zeros(self.joints))
        inertia = np.diag(np.asarray(matrix))
        first = [name.partition(" = ")[0] for name in self.names]
        return np.array([parameters.span(name, robot, inertia) for name in first])

    def _parts(self) -> dict[str, Array]:
        """Return the coordinates of every entry, free ones updated, by quantity."""
        given = self.given()
        columns = np.array(self.columns)
        first = np.array([self.columns.index(p) for p in range(len(self.names))])
        moved = self.coordinates - given[first]
        change = jnp.where(columns >= 0, moved[np.maximum(columns, 0)], 0.0)
        sizes = parameters.sizes(self.origin.value, len(self.massive))
        ends = np.cumsum(list(sizes.values()))[:-1]
        return dict(zip(sizes, jnp.split(given + change, ends), strict=True))

    @property
    def inner(self) -> Twin:
        """Return the twin before fitting, without a gradient."""
        return self.origin()

    @property
    @compiled
    def robot(self) -> Multibody:
        """Return the robot with the current parameters."""
        return self._robot(self._parts())

    @property
    @compiled
    def twin(self) -> Twin:
        """Return the twin of the fitted robot, driven by the efforts themselves."""
        return self._twin(self._parts())

    def _free(self, *quantities: str) -> bool:
        """Return whether any entry of these quantities is a parameter."""
        names = [name for joined in self.names for name in joined.split(" = ")]
        return any(quantity(name).startswith(quantities) for name in names)

    def _robot(self, parts: dict[str, Array]) -> Multibody:
        """Return the robot, in which numbers without a free entry are the origin's.

        No derivative is then taken through them: most of a Jacobian's cost.
        """
        robot = self.origin().robot
        joint_numbers = [
            n for n in ("damping", "friction", "armature") if self._free(n)
        ]
        changed: dict[str, Any] = {name: parts[name] for name in joint_numbers}
        if self._free("friction_velocity"):
            changed["friction_velocity"] = jnp.exp(parts["friction_velocity"])
        if self._free(*PARTS):
            law = FrictionLaw(*(parts[name] for name in PARTS))
            velocity = jnp.exp(law.stribeck_velocity)
            changed["friction_law"] = law._replace(stribeck_velocity=velocity)
        if self._free("gravity"):
            changed["gravity"] = jnp.concatenate([parts[n] for n in GRAVITY_UNITS])
        massive = np.array(self.massive)
        if self._free("center_of_mass"):
            rows = self._rows("center_of_mass")
            centers = jnp.stack([parts[f"center_of_mass.{axis}"] for axis in "xyz"], -1)
            kept = robot.centers_of_mass.at[massive[rows]]
            changed["centers_of_mass"] = kept.set(centers[rows])
        if self._free("mass"):
            rows = self._rows("mass")
            masses = jnp.exp(parts["mass"][rows])
            changed["masses"] = robot.masses.at[massive[rows]].set(masses)
        if self._free("mass", "extent", "shear"):
            rows = self._rows("mass", "extent", "shear")
            kept = robot.inertias.at[massive[rows]]
            changed["inertias"] = kept.set(self._inertias(parts, rows))
        fields = tuple(changed)
        return eqx.tree_at(
            lambda r: tuple(getattr(r, field) for field in fields),
            robot,
            tuple(changed.values()),
            is_leaf=lambda leaf: leaf is None,
        )

    def _rows(self, *quantities: str) -> np.ndarray:
        """Return which of the massive bodies have free entries of these quantities."""
        count = len(BODY_UNITS) * len(self.massive)
        free = np.array(self.columns[:count]).reshape(len(BODY_UNITS), -1) >= 0
        kinds = [i for i, name in enumerate(BODY_UNITS) if name.startswith(quantities)]
        return np.flatnonzero(free[kinds].any(0))

    def _inertias(self, parts: dict[str, Array], rows: np.ndarray) -> Array:
        """Return the inertias of these rows of the massive bodies."""
        robot, bodies = self.origin().robot, np.array(self.massive)[rows]
        masses = jnp.exp(parts["mass"][rows])
        ratio = (masses / robot.masses[bodies])[:, None, None]
        if not self._free("extent", "shear"):
            return ratio * robot.inertias[bodies]
        logs = jnp.stack([parts[f"extent.{axis}"] for axis in "xyz"], -1)
        shears = jnp.stack([parts[f"shear.{axes}"] for axes in ("xy", "xz", "yz")], -1)
        made = jax.vmap(cholesky.inertia)(masses, logs[rows], shears[rows])
        # The remainder of a flat body scales with its mass, as the inertia does.
        return made + ratio * self.flat()[rows]

    def _twin(self, parts: dict[str, Array], shares: bool = False) -> Twin:
        robot = dataclasses.replace(self._robot(parts), shares_derivatives=shares)
        twin = eqx.tree_at(lambda t: t.robot, self.origin(), robot)
        free = [n for n in parameters.DRIVE_UNITS if n in parts and self._free(n)]
        if twin.drive is None or not free:
            return twin
        numbers = {
            name: jnp.exp(parts[name]) if name in parameters.POSITIVE else parts[name]
            for name in free
        }
        drive = dataclasses.replace(twin.drive, **numbers)
        return eqx.tree_at(lambda t: t.drive, twin, drive)

    def _driven(self, parts: dict[str, Array], action: Array) -> Array:
        if not self._free("effort"):
            return action
        return parts["effort_gain"] * action + parts["effort_offset"]

    @property
    def effort_axes(self) -> tuple[int, ...] | None:
        """Return the actuated joints where an action is not their effort, else None."""
        return self.inner.effort_axes

    def first_memory(self) -> Any:
        """Return the memory of a drive that has received no command yet."""
        return self.inner.first_memory()

    @compiled
    def path(
        self, state: Float[Array, " state"], action: Float[Array, " act"], memory: Any
    ) -> Path:
        """Return the state and the efforts of one step, a drive's memory included.

        A delay is at most that of the twin before the fit.
        """
        parts = self._parts()
        twin = self._twin(parts, self.shares_derivatives)
        if twin.drive is not None and twin.drive.remembers:
            drive = twin.drive
            late = [n for n in ("lag", "delay") if getattr(drive, n) is not None]
            drive = dataclasses.replace(drive, **{n: parts[n] for n in late})
            twin = eqx.tree_at(lambda t: t.drive, twin, drive)
        offset = parts["position_offset"] if self._free("position_offset") else 0.0
        shift = jnp.concatenate(
            [jnp.zeros(self.joints) + offset, jnp.zeros(self.joints)]
        )
        made = twin.path(state - shift, self._driven(parts, action), memory)
        return made._replace(states=made.states + shift[None])

    @compiled
    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint under a commanded effort."""
        return self.origin().effort(self._driven(self._parts(), action))

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later."""
        return self.advance(state, action, self.time_step)

    @compiled
    def advance(
        self,
        state: Float[Array, " state"],
        action: Float[Array, " act"],
        duration: float | Float[Array, ""],
    ) -> Float[Array, " state"]:
        """Return the state after one step of `duration` [s]."""
        parts = self._parts()
        twin = self._twin(parts, self.shares_derivatives)
        driven = self._driven(parts, action)
        if not self._free("position_offset"):
            return twin.advance(state, driven, duration)
        offset = parts["position_offset"]
        shift = jnp.concatenate([offset, jnp.zeros_like(offset)])
        return twin.advance(state - shift, driven, duration) + shift

    @compiled
    def inverse_dynamics(
        self,
        q: Float[Array, " joint"],
        velocity: Float[Array, " joint"],
        acceleration: Float[Array, " joint"],
        duration: float | Float[Array, ""] = 0.0,
    ) -> Float[Array, " joint"]:
        """Return the commanded effort [N·m or N] that gives the joints `acceleration`.

        A drive is not undone: its own effort is returned.

        At joints that no action drives the result is the effort itself, ideally 0. If
        `acceleration` is the mean over a step of the twin, `duration` [s] is its
        length: with `implicit_damping`, damping acts on the velocity after it.
        """
        parts = self._parts()
        if self._free("position_offset"):
            q = q - parts["position_offset"]
        robot = self._robot(parts)
        if robot.friction_law is not None:  # A step has the friction of its beginning.
            effort = robot.inverse_dynamics(q, velocity, acceleration)
            robot = rubbed(robot, q, velocity, effort)
        if self.implicit_damping:
            robot = with_implicit_damping(robot, velocity, duration)
        effort = robot.inverse_dynamics(q, velocity, acceleration)
        if not self._free("effort"):
            return effort
        driven = np.array(self.actuated)
        commanded = (effort[driven] - parts["effort_offset"]) / parts["effort_gain"]
        return effort.at[driven].set(commanded)

    def dry_friction(
        self, velocity: Float[Array, "*batch joint"]
    ) -> Float[Array, "*batch joint"]:
        """Return the part of `inverse_dynamics` that jumps where a joint turns.

        It is Coulomb's friction with what a law adds, but for the load's part.
        """
        parts = self._parts()
        friction = dry_friction(self._robot(parts), velocity)
        if not self._free("effort"):
            return friction
        driven = np.array(self.actuated)
        gains = jnp.ones(self.joints).at[driven].set(parts["effort_gain"])
        return friction / jnp.broadcast_to(gains, friction.shape)

    @compiled
    def commanded(
        self, actions: Float[Array, "time act"], time_step: float
    ) -> Float[Array, "time act"]:
        """Return the actions after delay and lag, before gain and offset.

        A delay of D takes u(t − D), linear between samples and held before the first;
        the lag follows it as T ẏ = u − y, exactly for u held over a step, from rest on
        the first sample. The result is the lag's mean over each step.

        Args:
            actions: one action every `time_step`.
            time_step: [s].
        """
        drive = self.inner.drive
        if not self._free("lag", "delay") and not (drive and drive.remembers):
            return actions
        parts = self._parts()
        late = delayed(actions, parts["delay"] / time_step)
        return lagged(late, parts["lag"] / time_step)
