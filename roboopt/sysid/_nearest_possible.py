"""The physically possible robot whose efforts are nearest to the recorded ones.

The efforts are linear in φ, the `linear_parameters`, and φ belongs to a possible robot
if every body's pseudo-inertia P(φ) is positive definite and frictions are not negative.
Both are convex, and so is

    ½ ‖(Y φ − τ) / σ‖² + γ Σ D(P ‖ P₀),   D = tr(P₀⁻¹ P) − log det(P₀⁻¹ P) − 4,

with the entropic divergence D from the robot as given (Lee, Wensing and Park, 2020),
which keeps P positive definite. Newton's method finds the minimum from any start; σ is
what least squares without any constraint leave.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.dynamics import ParametricTwin, joint_numbers, linear_parameters
from roboopt.sysid._condensed import Condensed

BODY_NUMBERS = 10
MAX_NEWTON_STEPS = 100  # for one weight
TOLERANCE = 1e-3  # of Newton's decrement, twice the distance of the value
PRECISION = 1e-14  # of a value
FASTER = 3.0  # by which the weight falls
ROUNDING = 1e-13  # of a scaled curvature
MIN_LENGTH = 1e-9  # of a step
MIN_NOISE_SHARE = 1e-4  # of a joint's efforts
MIN_THICKNESS = 1e-2, 1e-6  # of a body's second moments about its center, its frame
BARRIER = 1e-3  # of numbers that may not be negative
WEAK = 1e-2  # γ without a prior: less would be beyond double precision
SIGNED = "effort_offset", "friction_asymmetry"  # numbers that may be negative


def _basis() -> np.ndarray:
    """Return P of each number alone, (number, 4, 4): m, m c, the inertia's triangle."""
    made = np.zeros((BODY_NUMBERS, 4, 4))
    made[0, 3, 3] = 1.0
    for axis in range(3):
        made[1 + axis, axis, 3] = made[1 + axis, 3, axis] = 1.0
    for number, (i, j) in enumerate(zip(*np.triu_indices(3), strict=True)):
        made[4 + number, i, j] -= 1.0
        if i == j:  # Σ = ½ tr(I) 1 − I
            made[4 + number, :3, :3] += 0.5 * np.eye(3)
        else:
            made[4 + number, j, i] -= 1.0
    return made


BASIS = _basis()


def nearest_possible(
    start: ParametricTwin, condensed: Condensed, deviations: Any | None
) -> ParametricTwin | None:
    """Return `start` with the parameters of the nearest possible robot.

    `deviations` are the coordinates' standard deviations before the fit. None if the
    free parameters are not all ten of some bodies, and numbers of joints: the others
    are not linear in φ.
    """
    free, exact = free_numbers(start)
    if not exact:
        return None
    given = np.asarray(linear_parameters(start), float)
    problem = _Problem.of(start, given, free, condensed, deviations)
    return _with_numbers(start, problem.minimized())


def free_numbers(start: ParametricTwin) -> tuple[np.ndarray, bool]:
    """Return the linear parameters that free ones act on, and if these are all free.

    They are not if a body has some of its ten free, or a number is tied to another.
    """
    free = {name for joined in start.names for name in joined.split(" = ")}
    exact = len(free) == len(start.names)
    robot, made = start.inner.robot, []
    kinds = [name.partition("[")[0] for name in ParametricTwin.available(start.inner)]
    of_bodies = list(dict.fromkeys(kinds))[:BODY_NUMBERS]
    for body in start.massive:
        here = [f"{kind}[{robot.body_names[body]}]" in free for kind in of_bodies]
        exact &= any(here) == all(here)
        made += BODY_NUMBERS * [any(here)]
    for kind in joint_numbers(start):
        made += [f"{kind}[{joint}]" in free for joint in robot.joint_names]
    return np.array(made), exact


@dataclass
class _Problem:
    """The convex problem in the numbers that are free."""

    rows: np.ndarray
    """Of Y / σ, (row, number)."""
    gram: np.ndarray
    targets: np.ndarray
    given: np.ndarray
    begin: np.ndarray
    """The robot as given, with a thickness of flat bodies."""
    free: np.ndarray
    bodies: int
    inverses: np.ndarray
    """P₀⁻¹ of every body."""
    weight: float
    """γ."""
    spans: np.ndarray
    """Standard deviations of the joints' numbers."""
    positive: np.ndarray
    """Which of the joints' numbers may not be negative."""

    @classmethod
    def of(
        cls,
        start: ParametricTwin,
        given: np.ndarray,
        free: np.ndarray,
        condensed: Condensed,
        deviations: Any | None,
    ) -> "_Problem":
        factors = condensed.factors
        noise = condensed.rms(condensed.unconstrained(given, free))
        whole = condensed.rms(np.zeros_like(given))
        noise = np.maximum(noise, MIN_NOISE_SHARE * whole)
        use = noise > 0
        scaled = (factors[use] / noise[use, None, None]).reshape(-1, factors.shape[2])
        bodies = len(start.massive)
        pseudo = _thickened(np.einsum("bn,nij->bij", _of_bodies(given, bodies), BASIS))
        traces = np.trace(pseudo[:, :3, :3], axis1=1, axis2=2)[:, None, None]
        inertias = traces * np.eye(3) - pseudo[:, :3, :3]
        begin = given.copy()
        _of_bodies(begin, bodies)[:, 4:] = inertias[:, *np.triu_indices(3)]
        begin = np.where(free, begin, given)
        spread, weight = np.full(len(given) - BODY_NUMBERS * bodies, np.inf), WEAK
        if deviations is not None:
            known = dict(zip(start.names, np.asarray(deviations), strict=True))
            joints = start.inner.robot.joint_names
            kinds = joint_numbers(start)
            named = [f"{kind}[{joint}]" for kind in kinds for joint in joints]
            spread = np.array([known.get(name, np.inf) for name in named])
            masses = [known[n] for n in start.names if n.startswith("mass[")]
            # A mass that is off by its share then costs what the prior takes for it.
            weight = 1 / (4 * masses[0] ** 2) if masses else WEAK
        return cls(
            rows=scaled[:, :-1],
            gram=scaled[:, :-1].T @ scaled[:, :-1],
            targets=scaled[:, -1],
            given=given,
            begin=begin,
            free=free,
            bodies=bodies,
            inverses=np.linalg.inv(pseudo),
            weight=weight,
            spans=spread,
            positive=np.repeat(
                [kind not in SIGNED for kind in joint_numbers(start)], start.joints
            ),
        )

    def minimized(self) -> np.ndarray:
        """Return the numbers at the minimum, by Newton's method along its path.

        The robot as given counts for much at first, and then for less and less: a weak
        barrier alone would take thousands of steps.
        """
        x, split = self.begin.copy(), BODY_NUMBERS * self.bodies
        inside = self.positive & self.free[split:]
        joints = x[split:]
        least = np.where(np.isfinite(self.spans), 1e-3 * self.spans, 1e-3)
        joints[inside] = np.maximum(joints, least)[inside]
        excess = 0.5 * np.sum((self.rows @ x - self.targets) ** 2) / self.weight
        stronger = FASTER ** np.arange(np.ceil(np.log(max(excess, 1)) / np.log(FASTER)))
        for times in stronger[::-1]:
            x = self._centered(x, times)
        return x

    def _centered(self, x: np.ndarray, times: float) -> np.ndarray:
        """Return the minimum for a weight and a barrier that are `times` larger."""
        value, slope, curvature = self._at(x, times)
        weight = times * self.weight  # in which Newton's method measures a step
        for _ in range(MAX_NEWTON_STEPS):
            scale = 1 / np.sqrt(np.diag(curvature))
            step = np.zeros_like(x)
            scaled = curvature * scale[:, None] * scale + ROUNDING * np.eye(len(scale))
            step[self.free] = -scale * np.linalg.solve(scaled, scale * slope)
            decrement = -slope @ step[self.free]
            if decrement <= TOLERANCE * weight + PRECISION * abs(value):
                break
            length = 1.0
            while True:
                tried = self._at(x + length * step, times)
                if tried[0] <= value - 0.1 * length * decrement:
                    break
                length *= 0.5
                if length < MIN_LENGTH:
                    return x
            x = x + length * step
            value, slope, curvature = tried
        return x

    def _at(self, x: np.ndarray, times: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the value, its gradient and its Hessian in the free numbers."""
        split, count = BODY_NUMBERS * self.bodies, len(x)
        left = self.rows @ x - self.targets
        value, slope = 0.5 * left @ left, self.rows.T @ left
        weight, barrier = times * self.weight, times * BARRIER
        curvature = self.gram.copy()
        for body in np.flatnonzero(self.free[:split:BODY_NUMBERS]):
            at = slice(BODY_NUMBERS * body, BODY_NUMBERS * (body + 1))
            pseudo = np.einsum("n,nij->ij", x[at], BASIS)
            try:
                np.linalg.cholesky(pseudo)
            except np.linalg.LinAlgError:
                return np.inf, slope, curvature
            known, inverse = self.inverses[body], np.linalg.inv(pseudo)
            logarithm = np.linalg.slogdet(known @ pseudo)[1]
            value += weight * (np.trace(known @ pseudo) - logarithm - 4)
            turned = inverse @ BASIS
            slope[at] += weight * np.einsum("ij,nji->n", known - inverse, BASIS)
            curvature[at, at] += weight * np.einsum("nij,mji->nm", turned, turned)
        joints, start = x[split:], self.given[split:]
        away = (joints - start) / self.spans
        value += 0.5 * away @ away
        slope[split:] += away / self.spans
        diagonal = np.zeros(count)
        diagonal[split:] = 1 / self.spans**2
        bounded = self.positive & self.free[split:]
        if np.any(joints[bounded] <= 0):
            return np.inf, slope, curvature
        safe = np.where(bounded, joints, 1.0)
        value -= barrier * np.log(safe).sum()
        slope[split:] -= barrier * bounded / safe
        diagonal[split:] += barrier * bounded / safe**2
        curvature += np.diag(diagonal)
        return value, slope[self.free], curvature[np.ix_(self.free, self.free)]


def _thickened(pseudo: np.ndarray) -> np.ndarray:
    """Return P of bodies that are not flat: a rod of a file is no line."""
    moments, first = pseudo[:, :3, :3], pseudo[:, :3, 3]
    whole = np.trace(moments, axis1=1, axis2=2)
    central = whole - (first**2).sum(1) / pseudo[:, 3, 3]
    least = np.maximum(MIN_THICKNESS[0] * central, MIN_THICKNESS[1] * whole)
    lowest = np.array(
        [
            np.linalg.eigvalsh(m - np.outer(c, c) / mass)[0]
            for m, c, mass in zip(moments, first, pseudo[:, 3, 3], strict=True)
        ]
    )
    made = pseudo.copy()
    made[:, :3, :3] += np.maximum(least - lowest, 0.0)[:, None, None] * np.eye(3)
    return made


def _of_bodies(numbers: np.ndarray, bodies: int) -> np.ndarray:
    return numbers[: BODY_NUMBERS * bodies].reshape(bodies, BODY_NUMBERS)


def _with_numbers(start: ParametricTwin, numbers: np.ndarray) -> ParametricTwin:
    """Return `start` with the coordinates of these linear parameters."""
    massive, joints = np.array(start.massive), start.joints
    of_bodies = _of_bodies(numbers, len(massive))
    masses = of_bodies[:, 0]
    centers = of_bodies[:, 1:4] / masses[:, None]
    inertias = np.zeros((len(massive), 3, 3))
    rows, columns = np.triu_indices(3)
    inertias[:, rows, columns] = inertias[:, columns, rows] = of_bodies[:, 4:]
    square = (centers**2).sum(1)[:, None, None] * np.eye(3)
    shift = square - centers[:, :, None] * centers[:, None]
    inertias -= masses[:, None, None] * shift
    kinds = joint_numbers(start)
    of_joints = numbers[BODY_NUMBERS * len(massive) :].reshape(len(kinds), joints)
    known = dict(zip(kinds, jnp.asarray(of_joints), strict=True))
    robot = start.inner.robot
    moved = {
        "masses": robot.masses.at[massive].set(masses),
        "centers_of_mass": robot.centers_of_mass.at[massive].set(centers),
        "inertias": robot.inertias.at[massive].set(inertias),
        **{name: known[name] for name in ("damping", "friction", "armature")},
    }
    if "stribeck_friction" in known:
        law = start.robot.friction_law
        assert law is not None
        moved["friction_law"] = law._replace(
            asymmetry=known["friction_asymmetry"], stribeck=known["stribeck_friction"]
        )
    robot = eqx.tree_at(
        lambda r: tuple(getattr(r, name) for name in moved),
        robot,
        tuple(moved.values()),
        is_leaf=lambda leaf: leaf is None,
    )
    twin = eqx.tree_at(lambda t: t.robot, start.inner, robot)
    values = ParametricTwin(twin, start.names).coordinates
    for number, name in enumerate(start.names):
        if name.startswith("effort_offset["):
            joint = robot.joint_names.index(name.partition("[")[2].removesuffix("]"))
            values = values.at[number].set(known["effort_offset"][joint])
    return eqx.tree_at(lambda m: m.coordinates, start, values)
