"""The twin in coordinates that can be fitted: what may change, and nothing else.

    commanded u → delay, lag, gain k, offset → effort τ → M(q) q̈ + h + d q̇ + c(q̇) = τ

and positions are measured as q + offset. Every entry that is free has a name, a unit
and a coordinate z of one vector, the only leaf that is trained. Masses and extents are
exponentials of theirs and inertias come from log-Cholesky coordinates, so that every z
is a possible robot; frictions, armatures and times are bounded below by 0.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import Frozen, Jittable
from roboopt._errors import RobooptError
from roboopt.dynamics import _log_cholesky as cholesky
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._twin import Twin

# Each quantity's unit at a revolute and at a prismatic joint, and of what it is one.
JOINT_UNITS = {
    "damping": ("N·m·s/rad", "N·s/m"),
    "friction": ("N·m", "N"),
    "armature": ("kg·m²", "kg"),
    "position_offset": ("rad", "m"),
}
ACTUATOR_UNITS = {
    "effort_gain": ("1", "1"),
    "effort_offset": ("N·m", "N"),
    "lag": ("s", "s"),
    "delay": ("s", "s"),
}
BODY_UNITS = {
    "mass": "kg",
    **{f"center_of_mass.{axis}": "m" for axis in "xyz"},
    **{f"extent.{axis}": "m" for axis in "xyz"},
    **{f"shear.{axes}": "m" for axes in ("xy", "xz", "yz")},
}
POSITIVE = ("mass", "extent.x", "extent.y", "extent.z")
NOT_NEGATIVE = ("damping", "friction", "armature", "lag", "delay")
GRAVITY_UNITS = {f"gravity.{axis}": "m/s²" for axis in "xyz"}


class ParametricTwin(Jittable):
    """A dynamics `model(state, action) -> next_state` whose named parameters are free.

    States are as measured: [q + position_offset, q̇]. An action is the commanded effort
    [N·m or N]. Lag and delay reach over steps: `commanded` applies them to a recorded
    sequence, as `PredictionError` does; a single call is without them.
    """

    coordinates: Float[Array, " parameter"]
    origin: Frozen[Twin]
    given: Frozen[Float[Array, " entry"]]
    """The coordinates of every entry there is, free or not."""
    columns: tuple[int, ...] = eqx.field(static=True)
    """For each entry its parameter, −1 where it is not free."""
    names: tuple[str, ...] = eqx.field(static=True)
    units: tuple[str, ...] = eqx.field(static=True)
    positive: tuple[bool, ...] = eqx.field(static=True)
    """Which parameters are exponentials of their coordinates."""
    flat: Frozen[Float[Array, "massive 3 3"]]
    """What the inertias of bodies flatter than coordinates can say have beside them."""
    massive: tuple[int, ...] = eqx.field(static=True)
    """The bodies that have mass; the others stay as they are."""

    def __init__(
        self,
        twin: Twin,
        free: Sequence[str],
        *,
        ties: Sequence[Sequence[str]] = (),
    ):
        """Make the entries that match `free` the parameters of `twin`.

        Args:
            twin: of the robot as it is known, the start of the fit.
            free: names or patterns, such as "mass", "damping[joint_1]", "*[link_7]",
                "center_of_mass.*"; without brackets, that of every link or joint.
                `ParametricTwin.available(twin)` lists the names.
            ties: groups of names that share one parameter, added to their own starts
                (a factor, for masses and extents).

        Raises:
            RobooptError: if nothing is free, a pattern matches nothing, or a tie names
                what is not free, twice, or in different units.
        """
        if twin.motors is not None:
            raise RobooptError(
                "`twin` must be driven by efforts: position motors hide the dynamics."
            )
        massive = _massive(twin.robot)
        entries = _entries(twin, massive)
        names = [name for name, _ in entries]
        chosen = _matching(names, free)
        groups = _tied(names, dict(entries), chosen, ties)
        columns = [-1] * len(names)
        for number, group in enumerate(groups):
            for index in group:
                columns[index] = number
        first = [group[0] for group in groups]
        self.origin = Frozen(twin)
        self.massive = massive
        given = _given(twin, massive)
        self.given = Frozen(jnp.asarray(given))
        self.flat = Frozen(jnp.asarray(_flat(twin.robot, massive)))
        self.columns = tuple(columns)
        self.names = tuple(" = ".join(names[i] for i in group) for group in groups)
        self.units = tuple(entries[i][1] for i in first)
        self.positive = tuple(_quantity(names[i]) in POSITIVE for i in first)
        self.coordinates = jnp.asarray(given[np.array(first)])

    @staticmethod
    def available(twin: Twin) -> dict[str, str]:
        """Return the name and the unit of everything that may be fitted."""
        return dict(_entries(twin, _massive(twin.robot)))

    def values(self) -> Float[Array, " parameter"]:
        """Return the parameters in their units; of tied ones the first."""
        positive = np.array(self.positive)
        return jnp.where(positive, jnp.exp(self.coordinates), self.coordinates)

    def lower(self) -> Float[np.ndarray, " parameter"]:
        """Return the least that each coordinate may be: 0 for frictions and times."""
        quantities = [_quantity(name) for name in self.names]
        return np.array([0.0 if q in NOT_NEGATIVE else -np.inf for q in quantities])

    def spans(self) -> Float[np.ndarray, " parameter"]:
        """Return by how much each coordinate would have to be off to matter.

        A mass or an extent by its whole; a center of mass by the body's extent; of a
        joint what takes the effort of 1 rad/s² (or 1 m/s², at 1 rad/s or 1 m/s) with
        the robot as it stands at q = 0.
        """
        robot = self.origin.value.robot
        matrix = jax.jit(robot.mass_matrix)(jnp.zeros(self.joints))
        inertia = np.diag(np.asarray(matrix))
        extents = {}
        for i in self.massive:
            trace = 0.5 * float(jnp.trace(robot.inertias[i]) / robot.masses[i])
            extents[robot.body_names[i]] = max(np.sqrt(trace), 1e-3)
        fixed = {"effort_gain": 1.0, "position_offset": 0.1, "lag": 0.1, "delay": 0.1}

        def span(name: str) -> float:
            quantity, _, where = name.removesuffix("]").partition("[")
            if quantity in POSITIVE or quantity in fixed:
                return fixed.get(quantity, 1.0)
            if quantity in GRAVITY_UNITS:
                return 1.0
            if quantity in BODY_UNITS:
                return extents[where]
            return float(inertia[robot.joint_names.index(where)])

        return np.array([span(name.partition(" = ")[0]) for name in self.names])

    def _entries(self) -> Float[Array, " entry"]:
        """Return the coordinates of every entry, the free ones as they are now."""
        given = self.given()
        columns = np.array(self.columns)
        first = np.array([self.columns.index(p) for p in range(len(self.names))])
        moved = self.coordinates - given[first]
        change = jnp.where(columns >= 0, moved[np.maximum(columns, 0)], 0.0)
        return given + change

    def _parts(self) -> dict[str, Array]:
        """Return the coordinates by quantity."""
        twin = self.origin.value
        bodies, joints = len(self.massive), twin.joints
        sizes = {
            **dict.fromkeys(BODY_UNITS, bodies),
            **dict.fromkeys(JOINT_UNITS, joints),
            **dict.fromkeys(ACTUATOR_UNITS, twin.action_size),
            **dict.fromkeys(GRAVITY_UNITS, 1),
        }
        ends = np.cumsum(list(sizes.values()))[:-1]
        return dict(zip(sizes, jnp.split(self._entries(), ends), strict=True))

    @property
    def robot(self) -> Multibody:
        """Return the robot as the parameters have it."""
        return self._robot(self._parts())

    def _free(self, *quantities: str) -> bool:
        """Return whether any entry of these is a parameter."""
        names = [name for joined in self.names for name in joined.split(" = ")]
        return any(_quantity(name).startswith(quantities) for name in names)

    def _robot(self, parts: dict[str, Array]) -> Multibody:
        """Return the robot, with what has no parameter left just as it is.

        Nothing is then differentiated through it: most of a Jacobian's cost.
        """
        robot = self.origin().robot
        changed: dict[str, Array] = {
            name: parts[name]
            for name in ("damping", "friction", "armature")
            if self._free(name)
        }
        if self._free("gravity"):
            changed["gravity"] = jnp.concatenate([parts[n] for n in GRAVITY_UNITS])
        massive = np.array(self.massive)
        if self._free("center_of_mass"):
            rows = self._rows("center_of_mass")
            centers = jnp.stack([parts[f"center_of_mass.{axis}"] for axis in "xyz"], -1)
            changed["centers_of_mass"] = robot.centers_of_mass.at[massive[rows]].set(
                centers[rows]
            )
        if self._free("mass"):
            rows = self._rows("mass")
            masses = jnp.exp(parts["mass"][rows])
            changed["masses"] = robot.masses.at[massive[rows]].set(masses)
        if self._free("mass", "extent", "shear"):
            rows = self._rows("mass", "extent", "shear")
            changed["inertias"] = robot.inertias.at[massive[rows]].set(
                self._inertias(parts, rows)
            )
        fields = tuple(changed)
        return eqx.tree_at(
            lambda r: tuple(getattr(r, field) for field in fields),
            robot,
            tuple(changed.values()),
        )

    def _rows(self, *quantities: str) -> np.ndarray:
        """Return which of the massive bodies have any of these free."""
        count = len(BODY_UNITS) * len(self.massive)
        free = np.array(self.columns[:count]).reshape(len(BODY_UNITS), -1) >= 0
        kinds = [i for i, name in enumerate(BODY_UNITS) if name.startswith(quantities)]
        return np.flatnonzero(free[kinds].any(0))

    def _inertias(self, parts: dict[str, Array], rows: np.ndarray) -> Array:
        """Return the inertias of these of the massive bodies."""
        robot, bodies = self.origin().robot, np.array(self.massive)[rows]
        masses = jnp.exp(parts["mass"][rows])
        ratio = (masses / robot.masses[bodies])[:, None, None]
        if not self._free("extent", "shear"):
            return ratio * robot.inertias[bodies]
        logs = jnp.stack([parts[f"extent.{axis}"] for axis in "xyz"], -1)
        shears = jnp.stack([parts[f"shear.{axes}"] for axes in ("xy", "xz", "yz")], -1)
        # What is flat grows with the mass as the rest of an inertia does.
        made = jax.vmap(cholesky.inertia)(masses, logs[rows], shears[rows])
        return made + ratio * self.flat()[rows]

    @property
    def twin(self) -> Twin:
        """Return the twin of the fitted robot, to be driven by efforts themselves."""
        return self._twin(self._parts())

    def _twin(self, parts: dict[str, Array]) -> Twin:
        return eqx.tree_at(lambda t: t.robot, self.origin(), self._robot(parts))

    @property
    def actuated(self) -> tuple[int, ...]:
        """Return the joints that an action drives."""
        return self.origin.value.actuated

    @property
    def time_step(self) -> float:
        """Return the twin's step [s]."""
        return self.origin.value.time_step

    @property
    def joints(self) -> int:
        """Return how many joints move."""
        return self.origin.value.joints

    @property
    def action_size(self) -> int:
        """Return how many joints an action drives."""
        return self.origin.value.action_size

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        return self.origin().clip(action)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] that the robot feels of a commanded one."""
        parts = self._parts()
        return self.origin().effort(self._driven(parts, action))

    def _driven(self, parts: dict[str, Array], action: Array) -> Array:
        if not self._free("effort"):
            return action
        return parts["effort_gain"] * action + parts["effort_offset"]

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later."""
        return self.advance(state, action, self.time_step)

    def advance(
        self,
        state: Float[Array, " state"],
        action: Float[Array, " act"],
        duration: float | Float[Array, ""],
    ) -> Float[Array, " state"]:
        """Return the state after one step of `duration` [s]."""
        parts = self._parts()
        twin = self._twin(parts)
        driven = self._driven(parts, action)
        if not self._free("position_offset"):
            return twin.advance(state, driven, duration)
        offset = parts["position_offset"]
        shift = jnp.concatenate([offset, jnp.zeros_like(offset)])
        return twin.advance(state - shift, driven, duration) + shift

    def inverse_dynamics(
        self,
        q: Float[Array, " joint"],
        velocity: Float[Array, " joint"],
        acceleration: Float[Array, " joint"],
    ) -> Float[Array, " joint"]:
        """Return the commanded effort [N·m or N] that moves the robot so.

        At joints that no action drives it is the effort itself, which should be 0.
        """
        parts = self._parts()
        if self._free("position_offset"):
            q = q - parts["position_offset"]
        effort = self._robot(parts).inverse_dynamics(q, velocity, acceleration)
        if not self._free("effort"):
            return effort
        driven = np.array(self.origin.value.actuated)
        commanded = (effort[driven] - parts["effort_offset"]) / parts["effort_gain"]
        return effort.at[driven].set(commanded)

    def commanded(
        self, actions: Float[Array, "time act"], time_step: float
    ) -> Float[Array, "time act"]:
        """Return the actions after delay and lag, before gain and offset.

        A delay of D takes u(t − D), straight between the samples and held before the
        first; the lag follows it as T ẏ = u − y, exactly where u is held over a step,
        starting at rest on the first sample, and is taken at its mean over each step:
        at the step's end a short lag would be over, and its derivative at 0 be 0.

        Args:
            actions: one every `time_step`.
            time_step: [s].
        """
        if not self._free("lag", "delay"):
            return actions
        parts = self._parts()
        return _lagged(
            _delayed(actions, parts["delay"] / time_step), parts["lag"] / time_step
        )


def _delayed(actions: Array, steps: Array) -> Array:
    """Return u at k − steps, straight between samples."""
    count = actions.shape[0]
    at = jnp.maximum(jnp.arange(count)[:, None] - steps[None], 0.0)
    # Between the sample after and the one before: at a delay of 0, and at every whole
    # step, the derivative is then that of a longer delay.
    above = jnp.clip(jnp.ceil(at).astype(int), 0, count - 1)
    below = jnp.maximum(above - 1, 0)
    high = jnp.take_along_axis(actions, above, 0)
    return high - (above - at) * (high - jnp.take_along_axis(actions, below, 0))


def _lagged(actions: Array, steps: Array) -> Array:
    """Return the means over each step of a first-order lag behind held actions."""
    there = steps > 0
    keep = jnp.where(there, jnp.exp(-1.0 / jnp.where(there, steps, 1.0)), 0.0)

    def step(before: Array, action: Array) -> tuple[Array, Array]:
        gap = before - action
        return action + keep * gap, action + steps * (1 - keep) * gap

    return jax.lax.scan(step, actions[0], actions)[1]


def _massive(robot: Multibody) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(np.asarray(robot.masses) > 0))


def _quantity(name: str) -> str:
    return name.partition("[")[0]


def _entries(twin: Twin, massive: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return the name and unit of every entry, in the order of the coordinates."""
    robot = twin.robot
    kinds = [0 if revolute else 1 for revolute in robot.revolute]
    bodies = [robot.body_names[i] for i in massive]
    found = [(f"{q}[{name}]", u) for q, u in BODY_UNITS.items() for name in bodies]
    for units, joints in (
        (JOINT_UNITS, range(twin.joints)),
        (ACTUATOR_UNITS, twin.actuated),
    ):
        for quantity, unit in units.items():
            for j in joints:
                found.append((f"{quantity}[{robot.joint_names[j]}]", unit[kinds[j]]))
    return found + list(GRAVITY_UNITS.items())


def _given(twin: Twin, massive: tuple[int, ...]) -> np.ndarray:
    """Return the coordinates of the robot as it is known."""
    robot = twin.robot
    chosen = np.array(massive)
    masses = np.asarray(robot.masses)[chosen]
    inertias = np.asarray(robot.inertias)[chosen]
    shapes = [
        cholesky.shape_coordinates(float(m), i)
        for m, i in zip(masses, inertias, strict=True)
    ]
    zero, one = np.zeros(twin.action_size), np.ones(twin.action_size)
    return np.concatenate(
        [
            np.log(masses),
            np.asarray(robot.centers_of_mass)[chosen].T.ravel(),
            np.array([logs for logs, _ in shapes]).T.ravel(),
            np.array([shears for _, shears in shapes]).T.ravel(),
            np.asarray(robot.damping),
            np.asarray(robot.friction),
            np.asarray(robot.armature),
            np.zeros(twin.joints),
            *(one, zero, zero, zero),
            np.asarray(robot.gravity),
        ]
    )


def _flat(robot: Multibody, massive: tuple[int, ...]) -> np.ndarray:
    """Return each body's inertia less that of its coordinates: flat bodies' only."""
    gaps = []
    for i in massive:
        mass, known = float(robot.masses[i]), np.asarray(robot.inertias[i])
        logs, shears = cholesky.shape_coordinates(mass, known)
        made = cholesky.inertia(*map(jnp.asarray, (mass, logs, shears)))
        gap = known - np.asarray(made)
        rounding = 1e-9 * np.abs(known).max()
        gaps.append(np.where(np.abs(gap).max() <= rounding, 0.0, gap))
    return np.array(gaps)


def _matching(names: list[str], free: Sequence[str]) -> list[int]:
    if isinstance(free, str):
        free = (free,)
    chosen: set[int] = set()
    for pattern in free:
        found = [i for i, name in enumerate(names) if _matches(name, pattern)]
        if not found:
            quantities = sorted({_quantity(name) for name in names})
            raise RobooptError(
                f"`free` must name parameters, got {pattern!r}, which matches none; "
                f"there are {quantities}, each with a link or joint in brackets, such "
                f"as {names[0]!r}."
            )
        chosen.update(found)
    if not chosen:
        raise RobooptError("`free` must name at least one parameter, got none.")
    return sorted(chosen)


def _matches(name: str, pattern: str) -> bool:
    # Brackets are part of names here, not sets of letters.
    literal = pattern.replace("[", "[[]")
    quantity = _quantity(name)
    return (
        fnmatchcase(name, literal)
        or fnmatchcase(quantity, literal)
        or quantity.partition(".")[0] == pattern
    )


def _tied(
    names: list[str],
    units: dict[str, str],
    chosen: list[int],
    ties: Sequence[Sequence[str]],
) -> list[list[int]]:
    """Return the groups of entries that share a parameter, in order."""
    group_of = {i: [i] for i in chosen}
    for tie in ties:
        unknown = [n for n in tie if n not in names or names.index(n) not in chosen]
        if unknown or len(tie) < 2:
            raise RobooptError(
                f"`ties` must each hold two or more names that are free, got {tie}"
                + (f", of which {unknown} is not." if unknown else ".")
            )
        if len({units[n] for n in tie}) > 1 or len({_quantity(n) for n in tie}) > 1:
            raise RobooptError(f"`ties` must each be of one quantity, got {tie}.")
        members = sorted(names.index(n) for n in tie)
        if any(len(group_of[i]) > 1 for i in members) or len(set(members)) < len(tie):
            raise RobooptError(
                f"`ties` must name a parameter once, got one twice: {tie}."
            )
        for i in members:
            group_of[i] = members
    return [group for i, group in sorted(group_of.items()) if group[0] == i]
