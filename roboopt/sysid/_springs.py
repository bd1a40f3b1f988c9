"""Springs of joints that nothing drives, of which a URDF knows nothing.

The effort at such a joint is known, 0 = Y φ, but for its size: a robot without mass
meets it, too. What is left is judged over the part of inertia, Y₀ φ, which has no
gravity and no friction in it:

    share = min over φ of ‖Y φ‖ / ‖Y₀ φ‖,

a generalized eigenvalue problem. A spring adds k q and a constant to Y φ. It is told
where the share is clearly less with k, also of recordings that φ has not seen, than
with the constant alone or with gravity along any direction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, joint_numbers, linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.rollouts import JointUnits
from roboopt.sysid._condensed import effort_rows

SPRING = "a spring of"  # begins the phrases
MIN_SHARE = 0.05  # of the inertial part, that is left without a spring
MIN_GAIN = 2.0  # ratio of the shares that are left
MIN_ALIKE = 0.7  # correlation of the inertial part with that of the robot as given
MIN_SINGULAR = 1e-6  # relative
RESISTANCE = "damping", "friction", "friction_asymmetry", "stribeck_friction"


@dataclass(frozen=True)
class _Columns:
    """What is linear in a joint's effort, at all instants of recordings."""

    whole: Float[np.ndarray, "instant column"]
    inertial: Float[np.ndarray, "instant column"]

    def left(self, numbers: Float[np.ndarray, " column"]) -> float:
        """Return the share of the inertial part that is left."""
        size = np.linalg.norm(self.inertial @ numbers)
        return float(np.linalg.norm(self.whole @ numbers) / max(size, 1e-300))

    def best(self) -> Float[np.ndarray, " column"]:
        """Return the numbers that leave the least share."""
        both = np.vstack([self.whole, self.inertial])
        size = np.linalg.norm(both, axis=0)
        kept = size > 0
        scaled = both[:, kept] / size[kept]
        _, singular, axes = np.linalg.svd(np.linalg.qr(scaled, mode="r"))
        known = singular > MIN_SINGULAR * singular[0]
        basis = (axes[known] / singular[known, None]).T
        inertial = scaled[len(self.whole) :] @ basis
        most = np.linalg.eigh(inertial.T @ inertial)[1][:, -1]
        found = np.zeros(size.shape)
        found[kept] = (basis @ most) / size[kept]
        return found


def spring_phrases(
    error: InverseDynamicsError,
    model: ParametricTwin,
    data: tuple[Trajectory, Trajectory],
    joints: Sequence[int],
) -> tuple[str, ...]:
    """Return which `joints`, of those that nothing drives, likely have a spring.

    `data` are the recordings that least squares see, and those that judge them.
    """
    parts = [_Motion.of(error, model, one) for one in data]
    found = (_phrase(model, joint, parts) for joint in joints)
    return tuple(phrase for phrase in found if phrase)


@dataclass(frozen=True)
class _Motion:
    """Positions at all instants, and Y there: without gravity, and 1 m/s² of it."""

    positions: Float[np.ndarray, "instant joint"]
    weightless: Float[np.ndarray, "joint instant column"]
    along: list[Float[np.ndarray, "joint instant column"]]

    @classmethod
    def of(
        cls, error: InverseDynamicsError, model: ParametricTwin, data: Trajectory
    ) -> "_Motion":
        """Return the motion of recordings."""
        directions = [np.zeros(3), *np.eye(3)]
        models = [
            eqx.tree_at(lambda m: m.inner.robot.gravity, model, jnp.asarray(gravity))
            for gravity in directions
        ]
        at, none = zip(*effort_rows(error, models[0], data), strict=True)
        along = [[y for _, y in effort_rows(error, one, data)] for one in models[1:]]
        none, *along = (np.concatenate(x, 1)[..., :-1] for x in (none, *along))
        positions = np.asarray(error.motions(model, data)[0])
        positions = positions.reshape(-1, model.joints)[np.concatenate(at)]
        return cls(positions, none, [one - none for one in along])

    def columns(self, model: ParametricTwin, joint: int) -> Iterator[_Columns]:
        """Yield the columns without a spring, with tilted gravity, and with a spring.

        The last two columns are of the constant and, with a spring, of the position.
        """
        kinds = joint_numbers(model)
        first = self.weightless.shape[2] - len(kinds) * model.joints
        rubbing = [
            first + joint + model.joints * number
            for number, kind in enumerate(kinds)
            if kind in RESISTANCE
        ]
        inertial = self.weightless[joint][:, :first]
        along = [one[joint][:, :first] for one in self.along]
        gravity = np.asarray(model.inner.robot.gravity)
        weight = sum(g * one for g, one in zip(gravity, along, strict=True))
        others = self.weightless[joint][:, rubbing]
        constant, position = np.ones((len(others), 1)), self.positions[:, [joint]]
        for more in (
            [inertial + weight, others, constant],
            [inertial, *along, others, constant],
            [inertial + weight, others, constant, position],
        ):
            whole = np.hstack(more)
            padded = np.zeros(whole.shape)
            padded[:, :first] = inertial
            yield _Columns(whole, padded)


def _phrase(model: ParametricTwin, joint: int, parts: Sequence[_Motion]) -> str:
    """Return what is told of a joint's spring, "" where there likely is none."""
    seen, judging = (list(part.columns(model, joint)) for part in parts)
    numbers = [one.best() for one in seen]
    pairs = zip(seen, judging, numbers, strict=True)
    without, tilted, sprung = ((a.left(x), b.left(x)) for a, b, x in pairs)
    clearly = (
        min(without) > MIN_SHARE
        and all(MIN_GAIN * s < w for s, w in zip(sprung, without, strict=True))
        and MIN_GAIN * sprung[1] < tilted[1]
    )
    if not clearly:
        return ""
    # The size of φ, that the motion does not tell, is that of the robot as given.
    given = np.asarray(linear_parameters(model), float)
    count = given.size - len(joint_numbers(model)) * model.joints
    own = seen[-1].inertial[:, :count] @ given[:count]
    made = seen[-1].inertial @ numbers[-1]
    if abs(own @ made) < MIN_ALIKE * np.linalg.norm(own) * np.linalg.norm(made):
        return ""
    constant, stiffness = numbers[-1][-2:] * (own @ made) / (made @ made)
    if stiffness <= 0:
        return ""
    units = JointUnits.of(model.robot.revolute[joint])
    rest = -constant / stiffness
    return (
        f"{SPRING} about {stiffness:.2g} {units.effort}/{units.position} at "
        f"{model.robot.joint_names[joint]}, at rest at {rest:.2g} {units.position}, "
        "explains most of the motion that the robot as given does not: a URDF holds no "
        "springs; record or compute its effort, and count the joint as driven"
    )
