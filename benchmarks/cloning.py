"""Behavior cloning: from demonstrations to doing the task.

Demonstrators are the library's own controllers; the clones are networks that see none
of them, and are judged over 100 episodes whose starts nobody demonstrated. On two
cores:

    python benchmarks/cloning.py [tasks] [choices] [saturated PATH] [two-way] [energy]

`saturated` takes the folder `lqr_run` of the real double pendulum's recordings.
"""

import csv
import gzip
import math
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro

DEMONSTRATIONS = 50
NOISE = 0.2  # of the largest action, on what is done; what is wanted is recorded
JUDGED = 1_000_003
STEPS = 10_000
ROLLED = 32  # demonstrations whose starts are rolled out at once
JOULE = 0.05  # s, the task's cost that a joule is worth
COST = 10.0  # 1/s, of energy and task beside the mismatch
SAVING_STEPS = 300
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "cart-pole, balance": ("roboopt/CartPoleBalance-v0", {}),
    "cart-pole, swing-up": ("roboopt/CartPoleSwingUp-v0", {}),
    "two-link, reach": ("roboopt/ArmReach-v0", {"robot": "two-link"}),
    "Panda, reach": ("roboopt/ArmReach-v0", {"robot": "panda"}),
}


def main() -> None:
    """Print the tables that are asked for, all but `saturated` by default."""
    jax.config.update("jax_enable_x64", True)
    given = sys.argv[1:] or ["tasks", "choices", "two-way", "energy"]
    for k, name in enumerate(given):
        if name == "saturated":
            saturated(Path(given[k + 1]))
        elif name in ("tasks", "choices", "two-way", "energy"):
            {
                "tasks": tasks,
                "choices": choices,
                "two-way": two_way,
                "energy": energy,
            }[name]()


def cloned(
    policy: Any, objective: Any, samples: ro.data.Demonstrations, *, steps: int = STEPS
) -> Any:
    """Return the policy after the library's default training."""
    return ro.minimize(
        objective, policy, samples, steps=steps, batch_size=min(256, len(samples))
    ).model


def tasks() -> None:
    """Print success of demonstrator and clone, and what it took."""
    print(f"\n{DEMONSTRATIONS} demonstrations, 100 episodes, success and return")
    for name, (env_id, options) in TASKS.items():
        env = gymnasium.make(env_id, **options)
        expert, said = ro.imitation.demonstrator(env)
        space: Any = env.action_space
        noisy = ro.policies.ActionNoise(expert, NOISE * space.high)
        demos = ro.rollouts.collect(
            env, noisy, label=expert, episodes=DEMONSTRATIONS, seed=0
        )
        samples = ro.data.Demonstrations.from_trajectories(
            demos, low=space.low, high=space.high
        )
        settings: dict[str, Any] = {"key": jax.random.key(0)}
        if name.startswith("cart-pole, swing"):
            settings["angles"] = (1,)
        began = time.perf_counter()
        if "reach" in name:
            robot = ro.Twin.from_env(env.unwrapped).robot
            policy = ro.policies.GravityCompensated.of(samples, robot, **settings)
        else:
            policy = ro.policies.MLPPolicy.of(samples, **settings)
        scale = np.asarray(samples.actions).std(0)
        clone = cloned(policy, ro.ActionMismatch(scale=scale), samples)
        seconds = time.perf_counter() - began
        print(f"{name}: {said}; {len(samples)} samples, trained in {seconds:.0f} s")
        for who, acts in (("demonstrator", expert), ("clone", clone)):
            print(f"   {who:14} {ro.evaluate(env, acts, seed=JUDGED)}", flush=True)


def rule(observation: Any) -> Any:
    """Push towards where the pole falls: it never falls in CartPole-v1."""
    x, v, angle, rate = observation
    return jnp.where(angle + 0.5 * rate + 0.1 * v + 0.05 * x > 0, 1, 0)


def choices() -> None:
    """Print CartPole-v1's return of a clone of a linear rule, from 20 episodes."""
    env = gymnasium.make("CartPole-v1")
    demos = ro.rollouts.collect(env, rule, episodes=20, seed=0)
    samples = ro.data.Demonstrations.from_trajectories(demos)
    policy = ro.policies.CategoricalPolicy.of(samples, key=jax.random.key(0))
    clone = cloned(
        policy, ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood()), samples
    )
    print("\nCartPole-v1, a linear rule's 20 episodes, 100 episodes")
    for who, acts in (("demonstrator", rule), ("clone", clone)):
        judged = ro.evaluate(env, acts, seed=JUDGED)
        print(f"   {who:14} {judged}; least {judged.returns.min():.0f}")


def saturated(folder: Path) -> None:
    """Print how well the gains of a controller that mostly saturates are recovered."""
    with gzip.open(folder / "trajectory.csv.gz", "rt") as file:
        rows = list(csv.reader(file))
    values = np.array(rows[1:], float)
    column = {name: values[:, k] for k, name in enumerate(rows[0])}
    used = column["time"] > 4.45
    error = [column[n][used] for n in ("pos_filt1", "pos_filt2")]
    error[0] = error[0] - math.pi
    error = [(e + math.pi) % (2 * math.pi) - math.pi for e in error]
    error += [column[n][used] for n in ("vel_filt1", "vel_filt2")]
    friction, torque = (column[n][used][:, None] for n in ("tau_fric1", "tau_con1"))
    # What the policy wanted shows through two clips, the second after the friction.
    samples = ro.data.Demonstrations(
        np.stack(error, 1),
        torque - friction,
        low=np.maximum(-5.0, -5.0 - friction),
        high=np.minimum(5.0, 5.0 - friction),
    )
    true = np.loadtxt(folder / "lqr_controller_Kmatrix.txt")[0]
    start = ro.policies.LinearFeedback(jnp.zeros((1, 4)))
    print(f"\nGains of a saturated controller on a real arm, {len(samples)} samples")
    plain = ro.data.Demonstrations(samples.observations, samples.actions)
    for name, data in (("clip ignored", plain), ("clip known", samples)):
        found = ro.least_squares(ro.ActionMismatch(scale=1.0), start, data)
        gains = np.asarray(found.model.gains)[0]
        off = 100 * np.abs(gains / true - 1)
        print(f"   {name}: K off by {np.array2string(off, precision=3)} %")


class PassObstacle(gymnasium.Env):
    """A point drives from the left to a goal on the right, past a disc between them.

    Observation: position [m]. Action: velocity, at most 1 m/s an axis.
    """

    metadata = {"render_modes": [], "render_fps": 20}
    radius, goal, limit = 0.42, np.array([1.0, 0.0]), 120

    def __init__(self):
        """Set the spaces."""
        self.observation_space = gymnasium.spaces.Box(-3.0, 3.0, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        """Begin on the left."""
        super().reset(seed=seed)
        self.place = np.array([-1.0, self.np_random.uniform(-0.02, 0.02)])
        self.taken = 0
        return self.place.copy(), {}

    def step(self, action):
        """Drive for a twentieth of a second."""
        self.place = self.place + np.clip(action, -1, 1) / 20
        self.taken += 1
        hit = bool(np.hypot(*self.place) < self.radius)
        done = bool(np.hypot(*(self.place - self.goal)) < 0.1)
        info = {"is_success": done and not hit}
        late = self.taken >= self.limit
        return self.place.copy(), float(done), hit or done, late, info


class Around:
    """Drives at the disc, and then swerves to the side that a coin says.

    Where the ways part, the mean of what was demonstrated is to drive on into it.
    """

    def __init__(self, seed: int = 0):
        """Toss from a seed."""
        self.coin = np.random.default_rng(seed)
        self.side = 1.0

    def __call__(self, place: np.ndarray) -> np.ndarray:
        """Return the velocity [m/s]."""
        x, y = place
        if x < -0.57:
            self.side = self.coin.choice([-1.0, 1.0])
            return np.array([0.5, 0.0])
        if x < 0 and self.side * y < 0.55:
            return np.array([0.5, 0.8 * self.side])
        if x < 0.5:
            return np.array([0.9, 0.0])
        away = PassObstacle.goal - place
        return 0.9 * away / max(0.1, np.hypot(*away))


def two_way() -> None:
    """Print who gets past an obstacle that was passed on both sides."""
    env = PassObstacle()
    expert = Around()
    demos = ro.rollouts.collect(env, expert, episodes=100, seed=0)
    print("\nTwo ways round an obstacle, 100 demonstrations, 100 episodes")
    print(f"   {'demonstrator':22} {ro.evaluate(env, expert, seed=JUDGED)}")
    key = jax.random.key(0)
    chunks = ro.data.Demonstrations.from_trajectories(demos, chunk=8)
    single = ro.data.Demonstrations.from_trajectories(demos)
    for name, policy, loss, data in (
        ("squared loss", ro.policies.MLPPolicy.of(single, key=key), None, single),
        (
            "squared loss, chunks",
            ro.policies.MLPPolicy.of(chunks, key=key),
            None,
            chunks,
        ),
        (
            "mixture, chunks",
            ro.policies.GMMPolicy.of(chunks, key=key),
            ro.losses.NegativeLogLikelihood(),
            chunks,
        ),
        (
            "flow, chunks",
            ro.policies.FlowPolicy.of(chunks, key=key),
            ro.losses.FlowMatching(),
            chunks,
        ),
    ):
        if loss is None:
            clone = cloned(policy, ro.ActionMismatch(scale=1.0), data)
        elif isinstance(loss, ro.losses.NegativeLogLikelihood):
            clone = cloned(policy, ro.ActionMismatch(loss=loss), data)
        else:
            clone = ro.minimize(
                ro.ActionMismatch(loss=loss),
                policy,
                ro.losses.flow_batches(data, 256),
                steps=STEPS,
            ).model
            clone = ro.policies.SampleActions(clone)
        if data is chunks:
            clone = ro.policies.ActionChunking(clone, 2, ensemble=None)
        print(f"   {name:22} {ro.evaluate(env, clone, seed=JUDGED)}", flush=True)


def energy() -> None:
    """Print what a clone saves that minds energy too."""
    env = gymnasium.make("roboopt/ArmReach-v0", robot="two-link")
    world: Any = env.unwrapped
    expert, _ = ro.imitation.demonstrator(env)
    demos = ro.rollouts.collect(env, expert, episodes=DEMONSTRATIONS, seed=0)
    space, twin = world.action_space, ro.Twin.from_env(world)
    samples = ro.data.Demonstrations.from_trajectories(
        demos, low=space.low, high=space.high
    )
    mismatch = ro.ActionMismatch(scale=np.asarray(samples.actions).std(0))
    cost = ro.EnergyTaskCost(
        ro.Rollout(twin, world.horizon),
        world.task,
        world.actuators,
        work_weight=JOULE,
        joule_weight=JOULE,
    )
    both = mismatch + COST * cost
    batch = jax.tree.map(jnp.asarray, demos)
    gains = ro.policies.PDGravityCompensation.from_limits(
        twin.robot, world.effort_limits, world.time_step, implicit_damping=True
    )
    gains = ro.minimize(mismatch, gains, samples, steps=100).model
    network = ro.policies.GravityCompensated.of(
        samples, twin.robot, key=jax.random.key(0)
    )
    network = cloned(network, mismatch, samples)
    some = jax.tree.map(lambda leaf: leaf[:ROLLED], batch)
    saving = ro.minimize(both, gains, some, steps=40).model
    slow = optax.adam(optax.cosine_decay_schedule(1e-3, SAVING_STEPS))
    careful = ro.minimize(
        both, network, batch, batch_size=10, steps=SAVING_STEPS, optimizer=slow
    ).model
    print("\nTwo-link arm, cloned and saving energy, 100 episodes")
    for who, acts in (
        ("demonstrator", expert),
        ("gains, cloned", gains),
        ("gains, cloned + energy", saving),
        ("network, cloned", network),
        ("network, cloned + energy", careful),
    ):
        judged = ro.evaluate(env, acts, seed=JUDGED)
        runs = judged.trajectories
        found = cost.measure(runs)
        joules = float(found["mechanical_work"].value + found["joule_loss"].value)
        print(f"   {who:24} {joules:7.1f} J  {judged}", flush=True)


if __name__ == "__main__":
    main()
