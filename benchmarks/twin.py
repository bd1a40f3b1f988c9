"""The twin against PyBullet: do they agree, and which is faster?

Both sides run in turn in this one process, on the same robots and from the same states;
times are medians, ratios are of medians. About ten minutes on two cores:

    python benchmarks/twin.py [agreement] [speed]
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pybullet

from roboopt.dynamics import PositionMotors, Twin, load_bullet, load_urdf
from roboopt.rollouts import Rollout

# PyBullet's side is the one that the tests use.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "dynamics"))
from bullet_robots import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    ROBOTS,
    Body,
    random_state,
    smooth_efforts,
)

TIME_STEP = 1 / 240
SEEDS = range(5)
STATES = 1000
HORIZON = 1000
REPEATS = 7
SCALES = {"cart_pole": 5.0, "two_link": 3.0, "iiwa": 20.0, "panda": 5.0}
ORDER = tuple(SCALES)


def main() -> None:
    """Print the tables that are asked for, all of them by default."""
    jax.config.update("jax_enable_x64", True)
    wanted = sys.argv[1:] or ["agreement", "speed"]
    if "agreement" in wanted:
        dynamics_table()
        trajectory_table()
    if "speed" in wanted:
        speed_table()
        gradient_table()
        import_table()


def dynamics_table() -> None:
    """Print the largest errors over random states, relative to the largest entry."""
    print(f"\nLargest relative error at {STATES} random states")
    print(f"{'':10} {'forward dynamics':>17} {'mass matrix':>12} {'inverse':>9}")
    for name in ORDER:
        body = Body(ROBOTS[name])
        robot = load_bullet(body.client, body.body)
        # PyBullet's own inverse dynamics knows no damping.
        damping = lambda r: (r.damping, r.linear_damping, r.angular_damping)  # noqa: E731
        bare = eqx.tree_at(damping, robot, replace_fn=jnp.zeros_like)
        forward, matrix = jax.jit(robot.forward_dynamics), jax.jit(robot.mass_matrix)
        inverse = jax.jit(bare.inverse_dynamics)
        rng, errors = np.random.default_rng(0), np.zeros(3)
        for _ in range(STATES):
            q, velocity, effort = random_state(rng, len(robot.joint_names))
            vectors = [x.tolist() for x in (q, velocity, effort)]
            bullets = (
                body.acceleration(q, velocity, effort),
                body.client.calculateMassMatrix(body.body, vectors[0]),
                body.client.calculateInverseDynamics(body.body, *vectors),
            )
            ours = (
                forward(q, velocity, effort),
                matrix(q),
                inverse(q, velocity, effort),
            )
            pairs = zip(ours, bullets, strict=True)
            errors = np.maximum(errors, [relative_error(*pair) for pair in pairs])
        print(f"{name:10} {errors[0]:17.1e} {errors[1]:12.1e} {errors[2]:9.1e}")


def relative_error(ours: Any, bullets: Any) -> float:
    """Return the largest error over the largest entry."""
    return float(np.abs(np.subtract(ours, bullets)).max() / np.abs(bullets).max())


def trajectory_table() -> None:
    """Print how far positions are apart at most, in [rad or m], median and worst."""
    print(
        f"\nLargest deviation [rad or m] at 240 Hz, {len(SEEDS)} seeds: median, worst"
    )
    columns = {
        "random torques 1 s": (random_torques, 240),
        "random torques 5 s": (random_torques, 1200),
        "feedback 5 s": (feedback, 1200),
        "joint limits 3 s": (limits, 720),
        "position motors 3 s": (motors, 720),
    }
    print(f"{'':17}" + "".join(f"{title:>21}" for title in columns))
    for name in ORDER:
        for source in ("loaded", "URDF"):
            cells = []
            for run, steps in columns.values():
                worst = [run(name, source, steps, seed) for seed in SEEDS]
                cells.append(f"{statistics.median(worst):11.0e} {max(worst):9.0e}")
            print(f"{name:10} {source:6}" + "".join(cells), flush=True)


def read(body: Body, name: str, source: str) -> Any:
    """Return the robot, from the loaded body or from its file."""
    if source == "loaded":
        return load_bullet(body.client, body.body)
    return load_urdf(without_mimics(ROBOTS[name]))


def without_mimics(path: Path) -> Path:
    """Return a copy without <mimic>, which PyBullet ignores and `load_urdf` obeys."""
    copy = Path(tempfile.mkdtemp()) / path.name
    lines = path.read_text().splitlines()
    copy.write_text("\n".join(line for line in lines if "<mimic" not in line))
    return copy


def middle(robot: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the half width of the joints' ranges."""
    lower, upper = np.array(robot.lower), np.array(robot.upper)
    limited = np.array(robot.limited)
    return (
        np.where(limited, (lower + upper) / 2, 0.0),
        np.where(limited, (upper - lower) / 2, 1.0),
    )


def simulate(twin: Twin, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the states after each action."""

    def advance(state, action):
        after = twin(state, action)
        return after, after

    return jax.jit(lambda s, a: jax.lax.scan(advance, s, a)[1])(state, actions)


def apart(twin: Twin, ours: Any, bullets: list[np.ndarray]) -> float:
    """Return the largest difference of positions."""
    difference = np.subtract(ours, bullets)[:, : twin.joints]
    return float(np.abs(difference).max())


def random_torques(name: str, source: str, steps: int, seed: int) -> float:
    """Drive both by the same smooth random efforts."""
    body = Body(ROBOTS[name])
    twin = Twin(read(body, name, source), TIME_STEP)
    rng = np.random.default_rng(seed)
    q = rng.uniform(-0.5, 0.5, twin.joints)
    efforts = smooth_efforts(rng, steps, twin.joints, SCALES[name], TIME_STEP)
    body.set_state(q, np.zeros(twin.joints))
    bullets = [body.step(effort) for effort in efforts]
    start = np.concatenate([q, np.zeros(twin.joints)])
    return apart(twin, simulate(twin, start, efforts), bullets)


def feedback(name: str, source: str, steps: int, seed: int) -> float:
    """Let each follow its own state by computed torque, q̈ = −25 q − 10 q̇."""
    body = Body(ROBOTS[name])
    twin = Twin(read(body, name, source), TIME_STEP)

    @jax.jit
    def effort(state):
        q, velocity = jnp.split(state, 2)
        wanted = -25 * q - 10 * velocity
        return twin.robot.inverse_dynamics(q, velocity, wanted)

    rng = np.random.default_rng(seed)
    state = np.concatenate([rng.uniform(-0.5, 0.5, twin.joints), np.zeros(twin.joints)])
    body.set_state(*np.split(state, 2))
    step, loaded, bullets, ours = jax.jit(twin), state, [], []
    for _ in range(steps):
        loaded = body.step(effort(loaded))
        state = step(state, effort(state))
        bullets.append(loaded)
        ours.append(state)
    return apart(twin, ours, bullets)


def limits(name: str, source: str, steps: int, seed: int) -> float:
    """Push every joint that has limits against one of them, at 3/4 of `SCALES`."""
    body = Body(ROBOTS[name], joint_limits=True)
    twin = Twin(read(body, name, source), TIME_STEP, joint_limits=True)
    rng = np.random.default_rng(seed)
    q, _ = middle(twin.robot)
    side = rng.choice([-1.0, 1.0], twin.joints) * np.array(twin.robot.limited)
    efforts = smooth_efforts(rng, steps, twin.joints, SCALES[name] / 4, TIME_STEP)
    efforts += side * SCALES[name] * 0.75
    body.set_state(q, np.zeros(twin.joints))
    bullets = [body.step(effort) for effort in efforts]
    start = np.concatenate([q, np.zeros(twin.joints)])
    return apart(twin, simulate(twin, start, efforts), bullets)


def motors(name: str, source: str, steps: int, seed: int) -> float:
    """Let motors of the file's strength follow smooth targets within the limits.

    A joint whose effort the file puts at 0 gets 20 N·m.
    """
    body = Body(ROBOTS[name], joint_limits=True)
    robot = read(body, name, source)
    count = len(robot.joint_names)
    gains = [0.1] * count, [1.0] * count
    forces = [x if np.isfinite(x) else 20.0 for x in robot.effort_limits]
    held = PositionMotors(*gains, forces)
    twin = Twin(robot, TIME_STEP, joint_limits=True, motors=held)
    rng = np.random.default_rng(seed)
    q, half = middle(robot)
    targets = q + half * smooth_efforts(rng, steps, count, 1.0, TIME_STEP)
    body.set_state(q, np.zeros(count))
    bullets = []
    for target in targets:
        body.client.setJointMotorControlArray(
            body.body,
            body.joints,
            pybullet.POSITION_CONTROL,
            targetPositions=target.tolist(),
            forces=forces,
            positionGains=gains[0],
            velocityGains=gains[1],
        )
        body.client.stepSimulation()
        bullets.append(body.state())
    start = np.concatenate([q, np.zeros(count)])
    return apart(twin, simulate(twin, start, targets), bullets)


class Affine(eqx.Module):
    """The policy that the rollouts are timed with: τ = b − K o."""

    gain: jax.Array
    bias: jax.Array

    def __call__(self, observation: jax.Array) -> jax.Array:
        """Return the efforts."""
        return self.bias - self.gain @ observation


def problem(name: str, count: int) -> tuple[Body, Rollout, Affine, jax.Array]:
    """Return a robot at both sides, calm at 240 Hz, and `count` starts."""
    body = Body(ROBOTS[name], bodies_damping=0.0, joint_damping=0.05)
    robot = load_bullet(
        body.client, body.body, linear_damping=0.0, angular_damping=0.0, damping=0.05
    )
    rollout = Rollout(Twin(robot.merge_fixed(), TIME_STEP), HORIZON)
    joints = len(robot.joint_names)
    policy = Affine(jnp.full((joints, 2 * joints), 0.01), jnp.zeros(joints))
    starts = 0.1 * np.random.default_rng(0).normal(size=(count, 2 * joints))
    return body, rollout, policy, jnp.asarray(starts)


def in_turn(*runs: Callable[[], Any]) -> list[float]:
    """Return the median seconds of each, all run in turn `REPEATS` times."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(REPEATS):
        for seconds, run in zip(times, runs, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def speed_table() -> None:
    """Print steps per second, and their ratio to PyBullet's."""
    print(f"\nSteps per second, {HORIZON} steps, and times PyBullet's")
    print(f"{'':10} {'PyBullet':>9} {'twin, 1':>9} {'':6} {'twin, 64':>9}")
    for name in ORDER:
        body, rollout, policy, starts = problem(name, 64)
        run = jax.jit(lambda p, s, r=rollout: r(p, s).observations)
        one = run.lower(policy, starts[:1]).compile()
        many = run.lower(policy, starts).compile()
        gain, state = np.array(policy.gain), np.array(starts[0])

        def bullet(body=body, gain=gain, start=state):
            body.set_state(*np.split(start, 2))
            state = start
            for _ in range(HORIZON):
                state = body.step(-gain @ state)

        seconds = in_turn(
            bullet,
            lambda one=one, p=policy, s=starts: one(p, s[:1]),
            lambda many=many, p=policy, s=starts: many(p, s),
        )
        rates = HORIZON * np.array([1, 1, 64]) / seconds
        ratios = rates / rates[0]
        print(
            f"{name:10} {rates[0]:9.0f} {rates[1]:9.0f} {ratios[1]:5.1f}x "
            f"{rates[2]:9.0f} {ratios[2]:5.1f}x",
            flush=True,
        )


def gradient_table() -> None:
    """Print what the gradient of one rollout costs."""
    print(f"\nGradient of {HORIZON} steps by the policy's parameters")
    print(f"{'':10} {'compile':>9} {'per rollout':>12} {'memory':>9}")
    for name in ORDER:
        _, rollout, policy, starts = problem(name, 1)

        def loss(policy, starts, rollout=rollout):
            return (rollout(policy, starts).observations ** 2).mean()

        forward = jax.jit(loss).lower(policy, starts).compile()
        start = time.perf_counter()
        gradient = jax.jit(jax.value_and_grad(loss)).lower(policy, starts).compile()
        compilation = time.perf_counter() - start
        run, back = in_turn(
            lambda f=forward, p=policy, s=starts: f(p, s),
            lambda g=gradient, p=policy, s=starts: g(p, s),
        )
        analysis = gradient.memory_analysis()
        memory = analysis.temp_size_in_bytes / 1e6 if analysis else float("nan")
        print(
            f"{name:10} {compilation:7.1f} s {back / run:11.1f}x {memory:6.2f} MB",
            flush=True,
        )


def import_table() -> None:
    """Print what `import roboopt` takes beyond JAX's own import."""

    def seconds(code: str) -> float:
        def run() -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            return time.perf_counter() - start

        return statistics.median(run() for _ in range(REPEATS))

    alone, both = seconds("import jax"), seconds("import jax, roboopt")
    print(f"\nimport jax {alone:.2f} s, and roboopt {both - alone:.2f} s more")


if __name__ == "__main__":
    main()
