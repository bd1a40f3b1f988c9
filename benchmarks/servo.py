"""A servo on a pendulum, identified from noisy logs of the positions it was commanded.

The truth is no simulation of roboopt: SciPy integrates the equation of motion with a
DC motor, a proportional firmware loop and load-dependent friction to a relative error
of 1e-8, and positions and velocities are logged at 200 Hz with noise. `identify` with
its default settings fits six numbers to each log. The table says how many of the 95 %
intervals hold the true value, over logs that differ by their noise. With `--time-step`
PyBullet simulates the servo in such steps, and the fits take the same: minutes instead
of hours.

    python benchmarks/servo.py [--logs 40] [--noise 0.0003] [--time-step 0.001]
"""

import argparse
import tempfile
from pathlib import Path

import jax
import numpy as np
from roboopt_envs.robot import RobotTask
from scipy.integrate import solve_ivp

import roboopt as ro
from roboopt.dynamics import with_friction

jax.config.update("jax_enable_x64", True)

STEP, STEPS = 1 / 200, 2000
VELOCITY_NOISE = 0.02  # rad/s
MASS, LENGTH, INERTIA = 0.5, 0.15, 0.002  # kg, m, kg·m² about the center of mass
GRAVITY, SMOOTH = 9.81, 0.01  # m/s², rad/s
DRIVE = {
    "resistance": 2.0,
    "torque_constant": 0.012,
    "gear_ratio": 200.0,
    "rotor_inertia": 3e-7,
    "supply_voltage": 12.0,
    "position_gain": 25.0,
}
KNOWN = {**DRIVE, "torque_constant": 0.01, "rotor_inertia": 2e-7, "position_gain": 20.0}
TRUTH = {**DRIVE, "damping": 0.05, "friction": 0.08, "load_friction": 0.2}
FREE = ("torque_constant", "position_gain", "rotor_inertia")
FREE += ("damping", "friction", "load_friction")
URDF = f"""<robot name="pendulum"><link name="base"/><link name="arm"><inertial>
<origin xyz="0 0 {-LENGTH}"/><mass value="{MASS}"/><inertia ixx="{INERTIA}"
iyy="{INERTIA}" izz="0.0001" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="hinge" type="revolute"><parent link="base"/><child link="arm"/>
<axis xyz="0 1 0"/><limit lower="-2.6" upper="2.6" effort="50" velocity="10"/></joint>
</robot>"""


def commands() -> np.ndarray:
    """Return the commanded positions [rad]: swings, and steps that saturate."""
    times = np.arange(STEPS) * STEP
    return 1.2 * np.sin(2.2 * times) + 0.5 * np.sign(np.sin(0.9 * times))


def motion(targets: np.ndarray) -> np.ndarray:
    """Return q [rad] and q̇ [rad/s] around each command, which is held."""
    constant = DRIVE["gear_ratio"] * DRIVE["torque_constant"]
    per_volt, volts = constant / DRIVE["resistance"], DRIVE["supply_voltage"]
    inertia = INERTIA + MASS * LENGTH**2
    inertia += DRIVE["gear_ratio"] ** 2 * DRIVE["rotor_inertia"]

    def rate(_: float, state: np.ndarray, target: float) -> list[float]:
        q, velocity = state
        voltage = np.clip(DRIVE["position_gain"] * (target - q), -volts, volts)
        effort = per_volt * (voltage - constant * velocity)
        weight = MASS * GRAVITY * LENGTH * np.sin(q)
        load = abs(0.5 * (effort + weight))
        friction = TRUTH["friction"] + TRUTH["load_friction"] * load
        friction = friction * np.tanh(velocity / SMOOTH) + TRUTH["damping"] * velocity
        return [velocity, (effort - weight - friction) / inertia]

    states = [np.zeros(2)]
    settings = {"method": "LSODA", "rtol": 1e-8, "atol": 1e-10}
    for target in targets:
        solved = solve_ivp(rate, (0, STEP), states[-1], args=(target,), **settings)
        states.append(solved.y[:, -1])
    return np.array(states)


def simulated(urdf: Path, targets: np.ndarray, time_step: float) -> np.ndarray:
    """Return q [rad] and q̇ [rad/s] around each command, as PyBullet simulates them."""
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    friction = {"coulomb": TRUTH["friction"], "viscous": TRUTH["damping"]}
    env = RobotTask(
        urdf,
        model=with_friction(robot, load=TRUTH["load_friction"], **friction),
        time_step=time_step,
        control_period=STEP,
        duration=STEPS * STEP,
        interface="position",
        drive=DRIVE,
    )
    states = [env.reset(options={"start": np.zeros(2)})[0]]
    states += [env.step([target])[0] for target in targets]
    env.close()
    return np.array(states)


def noisy(states: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Return the states as they are logged."""
    rng = np.random.default_rng(seed)
    return states + rng.normal(size=states.shape) * [noise, VELOCITY_NOISE]


def main() -> None:
    """Print a table of the parameters, and how often the intervals hold them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=40)
    parser.add_argument("--noise", type=float, default=3e-4, help="[rad]")
    parser.add_argument("--time-step", type=float, help="[s]")
    given = parser.parse_args()
    targets, step, found = commands(), given.time_step, []
    actions, names = targets[:, None], ()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pendulum.urdf"
        path.write_text(URDF)
        states = simulated(path, targets, step) if step else motion(targets)
        for seed in range(given.logs):
            log = ro.Trajectory(noisy(states, given.noise, seed), actions, STEP)
            settings = {"interface": "position", "drive": KNOWN, "time_step": step}
            report = ro.identify(path, log, free=FREE, **settings).identifiability
            assert report is not None
            names = report.names
            found.append((report.values, report.lower, report.upper, report.verdicts))
    values, lower, upper, verdicts = map(np.array, zip(*found, strict=True))
    print(
        "parameter                  true       mean  mean half-width  hold  identified"
    )
    for k, name in enumerate(names):
        true = TRUTH[name.partition("[")[0]]
        held = np.mean((lower[:, k] <= true) & (true <= upper[:, k]))
        known, half = np.mean(verdicts[:, k] == "identified"), np.mean(upper - lower, 0)
        print(
            f"{name:22s} {true:8.4g} {values[:, k].mean():10.5g} {half[k] / 2:16.2g} "
            f"{held:5.0%} {known:11.0%}"
        )


if __name__ == "__main__":
    main()
