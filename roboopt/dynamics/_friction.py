"""Friction laws of a `Multibody`: see `roboopt.urdf.friction` for the formula."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._errors import floats, require
from roboopt.urdf.friction import STRIBECK_VELOCITY, FrictionLaw, amplitude

PARTS = {
    "friction_asymmetry": "asymmetry",
    "stribeck_friction": "stribeck",
    "stribeck_velocity": "stribeck_velocity",
    "load_friction": "load",
}
"""The fields of a law by the names of parameters."""


def with_friction(
    robot: Any,
    *,
    viscous: Any = None,
    coulomb: Any = None,
    velocity: Any = None,
    asymmetry: Any = 0.0,
    stribeck: Any = 0.0,
    stribeck_velocity: Any = STRIBECK_VELOCITY,
    load: Any = 0.0,
) -> Any:
    """Return `robot` with the friction of its joints, one number for all or one each.

    Args:
        robot: a `Multibody`.
        viscous: [N·m·s/rad or N·s/m]; None for the robot's damping.
        coulomb: c [N·m or N]; None for the robot's friction.
        velocity: v_s, below which dry friction is smooth [rad/s or m/s]; None for the
            robot's.
        asymmetry: a: friction is c + a forwards, and c − a backwards [N·m or N].
        stribeck: s, what friction has more near rest [N·m or N].
        stribeck_velocity: v_b, above which s is gone [rad/s or m/s].
        load: μ, the share of the load that friction has more, less than 2 [1].

    Raises:
        RobooptError: if a number is out of its range, or there are too many or too few.
    """
    given = {
        "viscous": (viscous, robot.damping),
        "coulomb": (coulomb, robot.friction),
        "velocity": (velocity, robot.friction_velocity),
        "asymmetry": (asymmetry, None),
        "stribeck": (stribeck, None),
        "stribeck_velocity": (stribeck_velocity, None),
        "load": (load, None),
    }
    joints, found = len(robot.joint_names), {}
    for name, (value, default) in given.items():
        numbers = floats(name, default if value is None else value)
        rule = f"be one number or one for each of {joints} joints"
        require(numbers.shape in ((), (joints,)), name, rule, value)
        most = 2.0 if name == "load" else np.inf  # At 2 no motor moves the joint.
        above = numbers > 0 if "velocity" in name else numbers >= 0
        valid = (abs(numbers) < most) & (above | (name == "asymmetry"))
        rule = "be positive and finite" if "velocity" in name else "be at least 0"
        rule = "be finite" if name == "asymmetry" else rule
        rule += f" and less than {most:g}" if rule == "be at least 0" else ""
        require(valid.all(), name, rule, value)
        found[name] = jnp.asarray(np.broadcast_to(numbers, joints))
    largest = np.abs(found["asymmetry"]) <= found["coulomb"]
    require(largest.all(), "asymmetry", "not exceed Coulomb's friction", asymmetry)
    damping, friction, slow, *law = found.values()
    fields = "damping", "friction", "friction_velocity", "friction_law"
    return eqx.tree_at(
        lambda r: [getattr(r, field) for field in fields],
        robot,
        [damping, friction, slow, FrictionLaw(*law)],
        is_leaf=lambda x: x is None,
    )


def dry_friction(robot: Any, velocity: Array) -> Array:
    """Return the friction [N·m or N] that is neither viscous nor from a load."""
    fields = robot.friction, robot.friction_velocity, robot.friction_law
    amount, slow, law = jax.tree.map(
        lambda x: jnp.broadcast_to(x, velocity.shape), fields
    )
    if law is not None:
        amount = amplitude(amount, slow, law, velocity, jnp.zeros_like(velocity))
    return amount * jnp.tanh(velocity / slow)


def rubbed(robot: Any, q: Array, velocity: Array, effort: Array | None) -> Any:
    """Return the robot with the Coulomb friction that its law amounts to here.

    The `effort` is that of the motors, None if it is to be what the links need.
    """
    law = robot.friction_law
    if law is None:
        return robot
    needed = robot.bias(q, velocity)
    load = needed if effort is None else 0.5 * (effort + needed)
    factor = amplitude(robot.friction, robot.friction_velocity, law, velocity, load)
    return eqx.tree_at(
        lambda r: (r.friction, r.friction_law),
        robot,
        (factor, None),
        is_leaf=lambda x: x is None,
    )


def resisted(robot: Any, q: Array, velocity: Array, effort: Array) -> Array:
    """Return `effort` plus the resistance of the joints.

    Friction depends on the load ℓ = (τ + h)/2, hence on its own result: with t =
    tanh(q̇/v_s) and σ the sign of ℓ, τ (1 − t μ σ/2) = τ₀ + t (c₀ + μ σ h/2), where τ₀
    is the effort with viscous friction, and σ that of τ₀ + t c₀ + h.
    """
    law, plain = robot.friction_law, effort + robot.damping * velocity
    smooth = jnp.tanh(velocity / robot.friction_velocity)
    if law is None:
        return plain + robot.friction * smooth
    zero = jnp.zeros_like(velocity)
    rest = amplitude(robot.friction, robot.friction_velocity, law, velocity, zero)
    needed, total = robot.bias(q, velocity), plain + smooth * rest
    share = 0.5 * smooth * law.load * jnp.sign(total + needed)
    return (total + share * needed) / (1.0 - share)
