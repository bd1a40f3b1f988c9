"""A real two-link arm: identified from its recordings, judged on runs held out.

The data are those of the DFKI Underactuated Robotics Lab's double pendulum (repository
dfki-ric-underactuated-lab/double_pendulum): ten excitation runs of design C.1 as
`sys_id/*.csv.gz` and the published model as `params/design_C.1_model_1.0.yml`. Every
third run is held out. Robots are identified by default, and with the parameters of a
plane alone. All are judged in one go, by the same measures:

- joint torques: velocities and torques low-passed (third-order Butterworth, 0.02 of
  the Nyquist frequency, forwards and backwards), accelerations by differentiating the
  filtered velocities and filtering again; RMSE over the runs held out;
- positions forecast open loop from the measured torques, after 0.1, 0.2 and 0.5 s.

    python benchmarks/real_arm.py PATH_OF_DOUBLE_PENDULUM
"""

import sys
import tempfile
import time
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro
from roboopt.data import Columns, differentiate, low_pass, resample
from roboopt.sysid import forecasts

NYQUIST_SHARE = 0.02
TIME_STEP = 0.002
PLANE = (  # what an arm that moves in a plane, with slender links, can show
    *("mass", "center_of_mass.z", "extent.z"),
    *("damping", "friction", "armature", "effort_offset"),
)
URDF = """<robot name="double_pendulum"><link name="base"/>
<link name="upper"><inertial><origin xyz="0 0 {r1}"/><mass value="{m1}"/>
<inertia ixx="{i1}" iyy="{i1}" izz="{s1}" ixy="0" ixz="0" iyz="0"/></inertial></link>
<link name="lower"><inertial><origin xyz="0 0 {r2}"/><mass value="{m2}"/>
<inertia ixx="{i2}" iyy="{i2}" izz="{s2}" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="shoulder" type="continuous"><parent link="base"/><child link="upper"/>
<axis xyz="0 1 0"/><dynamics damping="{b1}"/></joint>
<joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/>
<origin xyz="0 0 {l1}"/><axis xyz="0 1 0"/><dynamics damping="{b2}"/></joint></robot>
"""


def main() -> None:
    """Print the models' errors, the fitted parameters and how long it took."""
    jax.config.update("jax_enable_x64", True)
    folder = Path(sys.argv[1])
    published = read_parameters(folder / "params" / "design_C.1_model_1.0.yml")
    columns = Columns(
        time="time",
        positions=("pos_meas1", "pos_meas2"),
        velocities=("vel_meas1", "vel_meas2"),
        efforts=("tau_meas1", "tau_meas2"),
    )
    runs = [
        run
        for path in sorted((folder / "sys_id").glob("*.csv.gz"))
        for run in ro.data.load_recordings(path, columns=columns)
    ]
    held_out, training = runs[2::3], [r for i, r in enumerate(runs) if i % 3 != 2]
    models: dict = {"published": Published(published)}
    for name, free in (("by default", None), ("plane", PLANE)):
        began = time.perf_counter()
        with warnings.catch_warnings(action="ignore"):  # about what a plane hides
            found = ro.identify(
                start(published), training, held_out=held_out, free=free
            )
        seconds, models[name] = time.perf_counter() - began, found.model
        print(
            f"\n{name}: {len(training)} runs, {len(held_out)} held out, {seconds:.1f} "
            f"s in all; fitted by {found.error}, smoothed above {found.cutoff:.3g} Hz"
        )
        v = found.identifiability
        assert v is not None
        for i, parameter in enumerate(v.names):
            if v.verdicts[i] != "not excited":
                ends = f"[{v.lower[i]:9.4g}, {v.upper[i]:9.4g}] {v.units[i]:10}"
                print(f"{parameter:28} {v.values[i]:10.5g} {ends} {v.sentence(i)}")
        print(*v.combinations, sep="\n")
        check_possible(found.model.robot)

    print(
        "\njoint torque, RMSE [N·m] over the runs held out (published 0.148, bar 0.135)"
    )
    for name, model in models.items():
        each = [torque_errors(model, run) for run in held_out]
        pooled = np.sqrt(np.mean(np.concatenate(each) ** 2))
        print(f"{name:12} {pooled:.4f}")
    even = [prepared(resample(run, TIME_STEP)) for run in held_out]
    made = forecasts(models, even, (0.1, 0.2, 0.5))
    print("\nposition forecast, RMSE [rad] of joints 1, 2")
    print(f"{'':20}" + "".join(f"{1e3 * s:>11.0f} ms   " for s in made.seconds))
    for name, errors in made.rmse.items():
        print(f"{name:20}" + "".join(f"  {a:.4f} {b:.4f}" for a, b, *_ in errors))


def read_parameters(path: Path) -> dict[str, float]:
    """Return the published numbers by name."""
    lines = (line.split(":") for line in path.read_text().splitlines() if ":" in line)
    return {name.strip(): float(value) for name, value in lines}


def start(p: dict[str, float]) -> ro.Twin:
    """Return the arm as designed: published lengths and masses, slender links."""
    r = {"r1": -p["r1"], "r2": -p["r2"], "l1": -p["l1"]}
    about = {
        f"i{i}": max(p[f"I{i}"] - p[f"m{i}"] * p[f"r{i}"] ** 2, 1e-3) for i in (1, 2)
    }
    text = URDF.format(
        **r, **about, s1=1e-4, s2=1e-4, m1=p["m1"], m2=p["m2"], b1=p["b1"], b2=p["b2"]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arm.urdf"
        path.write_text(text)
        robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    return ro.Twin(robot, TIME_STEP)


class Published(eqx.Module):
    """The published model, M q̈ + C q̇ − G + b q̇ + c atan(100 q̇) = τ, as published."""

    parameters: dict[str, float] = eqx.field(static=True)
    joints: int = eqx.field(static=True, default=2)
    time_step: float = eqx.field(static=True, default=TIME_STEP)

    def _matrices(self, q, v):
        p = self.parameters
        c2, s2 = jnp.cos(q[1]), jnp.sin(q[1])
        h = p["m2"] * p["l1"] * p["r2"]
        rotor = p["Ir"]
        m22 = p["I2"] + p["gr"] ** 2 * rotor
        m12 = p["I2"] + h * c2 - p["gr"] * rotor
        m11 = (
            p["I1"]
            + p["I2"]
            + p["m2"] * p["l1"] ** 2
            + 2 * h * c2
            + p["gr"] ** 2 * rotor
            + rotor
        )
        mass = jnp.stack([jnp.stack([m11, m12]), jnp.stack([m12, m22])])
        turning = h * s2 * jnp.stack([-2 * v[0] * v[1] - v[1] ** 2, v[0] ** 2])
        s1, s12 = jnp.sin(q[0]), jnp.sin(q[0] + q[1])
        g, second = p["g"], p["m2"] * p["r2"]
        gravity = g * jnp.stack(
            [(p["m1"] * p["r1"] + p["m2"] * p["l1"]) * s1 + second * s12, second * s12]
        )
        friction = jnp.array([p["b1"], p["b2"]]) * v + jnp.array(
            [p["cf1"], p["cf2"]]
        ) * jnp.arctan(100 * v)
        return mass, turning + gravity + friction

    def inverse_dynamics(self, q, velocity, acceleration):
        """Return the torques [N·m]."""
        mass, rest = self._matrices(q, velocity)
        return mass @ acceleration + rest

    def advance(self, state, action, duration):
        """Return the state after `duration` [s], by Runge and Kutta."""

        def rate(s):
            q, v = s[:2], s[2:]
            mass, rest = self._matrices(q, v)
            return jnp.concatenate([v, jnp.linalg.solve(mass, action - rest)])

        k1 = rate(state)
        k2 = rate(state + duration / 2 * k1)
        k3 = rate(state + duration / 2 * k2)
        k4 = rate(state + duration * k3)
        return state + duration / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    def __call__(self, state, action):
        """Return the state one step later."""
        return self.advance(state, action, self.time_step)


def filtered(values: np.ndarray, step: float) -> np.ndarray:
    """Return the reference's low-pass of `values`."""
    return low_pass(values, NYQUIST_SHARE * 0.5 / step, step)


def torque_errors(model, run: ro.Trajectory) -> np.ndarray:
    """Return the model's torques less the measured ones, (time, joint) [N·m]."""
    step = run.time_step
    q = np.asarray(run.observations)[:, :2]
    velocity = filtered(np.asarray(run.observations)[:, 2:], step)
    times = np.arange(len(q)) * step if run.times is None else np.asarray(run.times)
    acceleration = filtered(differentiate(velocity, times), step)
    torque = filtered(np.asarray(run.actions), step)
    steps = len(torque)
    made = jax.vmap(model.inverse_dynamics)(
        jnp.asarray(q[:steps]),
        jnp.asarray(velocity[:steps]),
        jnp.asarray(acceleration[:steps]),
    )
    return np.asarray(made) - torque


def prepared(run: ro.Trajectory) -> ro.Trajectory:
    """Return the run with its velocities low-passed, from which forecasts begin."""
    observations = np.array(run.observations)
    observations[:, 2:] = low_pass(observations[:, 2:], 20.0, run.time_step)
    return ro.Trajectory(observations, run.actions, run.time_step)


def check_possible(robot: ro.dynamics.Multibody) -> None:
    """Say whether every parameter is that of a body that can exist."""
    moments = np.linalg.eigvalsh(np.asarray(robot.inertias))
    possible = (
        bool(np.all(np.asarray(robot.masses) > 0))
        and bool(np.all(moments[:, 0] > 0))
        and bool(np.all(moments[:, 0] + moments[:, 1] >= moments[:, 2]))
        and bool(np.all(np.asarray(robot.friction) >= 0))
        and bool(np.all(np.asarray(robot.damping) >= 0))
        and bool(np.all(np.asarray(robot.armature) >= 0))
    )
    print(f"\nphysically possible: {'yes' if possible else 'NO'}")


if __name__ == "__main__":
    main()
