"""The parameters in which the efforts of a motion are linear, and their matrix.

Each body gives its ten numbers (see `_body_matrix`), each joint its damping, Coulomb
friction, armature and effort offset, and where friction follows a law its asymmetry and
Stribeck friction. Bullet's damping of bodies is not among them.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import compiled
from roboopt.dynamics._body_matrix import body_matrix, body_numbers
from roboopt.dynamics._friction import PARTS
from roboopt.dynamics._parameters import friction_law, quantity
from roboopt.dynamics._parametric_twin import ParametricTwin
from roboopt.urdf.friction import STRIBECK_VELOCITY

NOT_LINEAR = (
    *("position_offset", "effort_gain", "lag", "delay", "gravity"),
    *("friction_velocity", "stribeck_velocity", "load_friction"),
)
JOINT_NUMBERS = "damping", "friction", "armature", "effort_offset"
LAW_NUMBERS = "friction_asymmetry", "stribeck_friction"


def efforts_are_linear(model: ParametricTwin) -> bool:
    """Return whether the free parameters act through `linear_parameters` alone."""
    loaded = np.any(friction_law(model.inner.robot).load)
    plain = not loaded and model.inner.drive is None
    return plain and not _free(model, *NOT_LINEAR)


def joint_numbers(model: ParametricTwin) -> tuple[str, ...]:
    """Return what each joint has among the `linear_parameters`, in their order."""
    lawful = model.inner.robot.friction_law is not None or _free(model, *PARTS)
    return JOINT_NUMBERS + LAW_NUMBERS * lawful


def _free(model: ParametricTwin, *quantities: str) -> bool:
    names = [name for joined in model.names for name in joined.split(" = ")]
    return any(quantity(name).startswith(quantities) for name in names)


@compiled
def linear_parameters(model: ParametricTwin) -> Float[Array, " number"]:
    """Return the numbers of all bodies with mass, then of all joints, in SI units."""
    robot, massive = model.robot, np.array(model.massive, int)

    bodies = robot.masses, robot.centers_of_mass, robot.inertias
    of_bodies = body_numbers(*(x[massive] for x in bodies))
    offset = model.effort(jnp.zeros(len(model.actuated)))
    assert offset is not None  # A twin that is fitted has no motors.
    of_joints = [robot.damping, robot.friction, robot.armature, offset]
    if len(joint_numbers(model)) > len(JOINT_NUMBERS):
        law = robot.friction_law
        assert law is not None  # Its numbers are free, or given.
        of_joints += [law.asymmetry, law.stribeck]
    return jnp.concatenate([of_bodies.ravel(), *of_joints])


def effort_matrix(
    model: ParametricTwin,
    q: Float[Array, " joint"],
    velocity: Float[Array, " joint"],
    acceleration: Float[Array, " joint"],
    duration: float | Float[Array, ""] = 0.0,
) -> Float[Array, "joint number"]:
    """Return Y, with which Y φ are the commanded efforts of a motion.

    Its arguments are those of `ParametricTwin.inverse_dynamics`, and φ are the
    `linear_parameters`.
    """
    robot = model.inner.robot
    bodies = body_matrix(robot, model.massive, q, velocity, acceleration)
    slow = robot.friction_velocity
    damped, rubbed = velocity, jnp.tanh(velocity / slow)
    if model.implicit_damping:
        x = velocity / slow
        safe = jnp.where(jnp.abs(x) < 1e-4, 1.0, x)
        ratio = jnp.where(jnp.abs(x) < 1e-4, 1 - x**2 / 3, jnp.tanh(safe) / safe)
        damped = damped + duration * acceleration
        rubbed = rubbed + duration * acceleration * ratio / slow
    diagonals = [damped, rubbed, acceleration, -jnp.ones_like(q)]
    if len(joint_numbers(model)) > len(JOINT_NUMBERS):
        law = robot.friction_law
        fast = STRIBECK_VELOCITY if law is None else law.stribeck_velocity
        rest = jnp.exp(-((velocity / fast) ** 2))
        diagonals += [rubbed * jnp.tanh(velocity / slow), rubbed * rest]
    return jnp.concatenate([bodies, *map(jnp.diag, diagonals)], 1)
