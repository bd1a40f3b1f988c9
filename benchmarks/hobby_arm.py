"""A hobby arm commanded by positions at 50 Hz, from its firmware to its gears.

Four joints with DC servos: a proportional loop in the firmware, back-EMF, friction that
grows with the load, and 20 ms between a command and the next. Prints how far twin and
PyBullet are apart over 3 s, and how many of 100 poses the tool reaches within 5 mm,
with goals as setpoints and with the setpoints that `tune` shapes.
"""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from roboopt_envs.arm import ArmReach

import roboopt as ro
from roboopt.dynamics import with_friction
from roboopt.rollouts import collect, twin_rollout

jax.config.update("jax_enable_x64", True)

TOLERANCE = 0.005  # m
SERVO = {
    "resistance": 2.5,
    "torque_constant": 0.008,
    "gear_ratio": 270.0,
    "rotor_inertia": 2e-7,
    "supply_voltage": 7.4,
    "position_gain": 8.0,
    "delay": 0.008,
}
FRICTION = {"coulomb": 0.03, "viscous": 0.02, "stribeck": 0.02, "load": 0.1}
LINKS = (("z", 0.06, 0.15), ("y", 0.12, 0.12), ("y", 0.11, 0.08), ("y", 0.07, 0.05))
"""Axis, length [m] and mass [kg] of each link."""


def urdf(folder: str) -> Path:
    """Write the arm: a turntable, and three links in its vertical plane."""
    parts, before, height = ['<robot name="hobby"><link name="base"/>'], "base", 0.05
    for k, (axis, length, mass) in enumerate(LINKS):
        inertia = mass * length**2 / 12 + 1e-5
        turn = "0 0 1" if axis == "z" else "0 1 0"
        parts.append(
            f'<link name="l{k}"><inertial><origin xyz="0 0 {length / 2}"/><mass '
            f'value="{mass}"/><inertia ixx="{inertia}" iyy="{inertia}" izz="1e-5" '
            f'ixy="0" ixz="0" iyz="0"/></inertial></link><joint name="j{k}" '
            f'type="revolute"><origin xyz="0 0 {height}"/><parent link="{before}"/>'
            f'<child link="l{k}"/><axis xyz="{turn}"/><limit lower="-1.5" upper="1.5" '
            'effort="1.5" velocity="6"/></joint>'
        )
        before, height = f"l{k}", length
    parts.append(
        '<link name="tool"/><joint name="tip" type="fixed">'
        f'<origin xyz="0 0 {height}"/><parent link="{before}"/><child link="tool"/>'
        "</joint></robot>"
    )
    path = Path(folder) / "hobby.urdf"
    path.write_text("".join(parts))
    return path


def main() -> dict[str, float]:
    """Return the gap [rad and rad/s] and the poses reached before and after."""
    with tempfile.TemporaryDirectory() as folder:
        path = urdf(folder)
        robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
        model = with_friction(robot, **FRICTION)
        options = {"interface": "position", "drive": SERVO, "control_period": 1 / 50}
        options |= {"time_step": 1 / 250}
        env = ArmReach(path, model=model, **options)
        starts = env.sample_starts(5, seed=1)
        plain = ro.policies.SetpointShaping(model)
        there = collect(env, plain, starts=starts)
        rollout = twin_rollout(env, joint_limits=True).require()
        here = rollout(plain, jnp.asarray(starts))
        gap = np.abs(np.asarray(here.substep_observations) - there.substep_observations)
        found = {"gap": float(gap.max())}
        print(f"twin − PyBullet over {env.duration:g} s: {found['gap']:.1e}")
        result = ro.tune(urdf=path, model=model, options=options, processes=0)
        print(result)
        for when, motion in result.motions.items():
            seen, n = np.asarray(motion.observations), len(LINKS)
            tool, goal = (
                env.task.chain.position(x) for x in (seen[..., :n], seen[..., 2 * n :])
            )
            last = np.linalg.norm(tool - goal, axis=-1)[:, -25:].max(-1)
            found[when] = float(np.mean(last <= TOLERANCE))
            print(f"{when}: {found[when]:.0%} within 5 mm over the last 0.5 s")
        env.close()
        return found


if __name__ == "__main__":
    main()
