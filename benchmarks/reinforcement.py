"""CartPole-v1 by likelihood ratio, beside stable-baselines3's PPO.

100 000 steps in 8 environments, in single precision:

- roboopt: `rl.PPO().learn`, all settings the defaults,
  in a process that computes where it is asked, as the command does;
- stable-baselines3: its PPO with its zoo's settings for this task, in one thread of
  torch or two, whichever is faster.

The sides run in turn, each run in a process of its own, seed by seed. Cold are the
seconds from the start of the process, imports and compilation included, until the mean
return of the last 20 training episodes has reached 475; warm are those of the same
learning once more within the process. Then the policies act greedily for 100 fresh
episodes. Collecting is acting for 1024 steps of each environment, with all that is
recorded of it: values, log-probabilities, advantages.

    python benchmarks/reinforcement.py --torch PYTHON [--runs 5]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

TASK, ENVS, STEPS, GOAL, LAST, EPISODES = "CartPole-v1", 8, 100_000, 475.0, 20, 100
LENGTH, ROUNDS = 1024, 5  # Of collecting.
QUICK = 10_000  # Steps that the number of threads is chosen by.


def ours(seed: int, steps: int) -> dict[str, Any]:
    """Learn once; return when the goal was reached, and what acts and collects."""
    import jax

    import roboopt as ro

    # As `roboopt reinforce` does: a small network is sooner computed than handed over.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    reached: list[tuple[float, int]] = []

    class Watched(ro.rollouts.GymVectorEnv):
        """Notes when the last episodes have reached the goal."""

        returns: list[float] = []
        timesteps = 0

        def begin(self, seed):
            self.returns, self.timesteps = [], 0
            super().begin(seed)

        def collect(self, agent, key, steps):
            found = super().collect(agent, key, steps)
            self.timesteps += steps * self.envs
            self.returns += [x.undiscounted_return for x in found[1]]
            last = self.returns[-LAST:]
            if not reached and len(last) == LAST and np.mean(last) >= GOAL:
                reached.append((time.time(), self.timesteps))
            return found

    world = Watched(TASK, envs=ENVS)
    spaces = world.observation_space, world.action_space
    agent = ro.policies.ActorCritic.of(*spaces, key=jax.random.key(seed))
    result = ro.rl.PPO().learn(agent, world, timesteps=steps, seed=seed)

    def judge() -> float:
        import gymnasium

        env = gymnasium.make(TASK)
        judged = ro.evaluate(env, result.model, episodes=EPISODES, seed=10_000)
        return float(judged.returns.mean())

    source = ro.rl.PPO(steps=LENGTH).data(world, seed)
    return {
        "reached": reached,
        "judge": judge,
        "collect": lambda number: source.next(result.model, None),
    }


def stable_baselines(seed: int, steps: int) -> dict[str, Any]:
    """Likewise."""
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common import (  # pyright: ignore[reportMissingImports]
        callbacks,
        env_util,
        evaluation,
    )

    reached: list[tuple[float, int]] = []

    class Watch(callbacks.BaseCallback):
        def _on_training_start(self) -> None:
            self.returns: list[float] = []

        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    self.returns.append(info["episode"]["r"])
            last = self.returns[-LAST:]
            if not reached and len(last) == LAST and np.mean(last) >= GOAL:
                reached.append((time.time(), self.num_timesteps))
            return True

    def made(length: int) -> Any:
        return PPO(
            "MlpPolicy",
            env_util.make_vec_env(TASK, n_envs=ENVS, seed=seed),
            n_steps=length,
            batch_size=256,
            gae_lambda=0.8,
            gamma=0.98,
            n_epochs=20,
            ent_coef=0.0,
            learning_rate=lambda left: left * 1e-3,
            clip_range=lambda left: left * 0.2,
            seed=seed,
            device="cpu",
        )

    model = made(32)
    model.learn(steps, callback=Watch())

    def judge() -> float:
        env = env_util.make_vec_env(TASK, n_envs=1, seed=10_000)
        found = evaluation.evaluate_policy(model, env, n_eval_episodes=EPISODES)
        return float(found[0])  # type: ignore

    other = made(LENGTH)
    _, callback = other._setup_learn(1)
    arguments = other.env, callback, other.rollout_buffer, LENGTH
    return {
        "reached": reached,
        "judge": judge,
        "collect": lambda number: other.collect_rollouts(*arguments),
    }


SIDES = {"roboopt": ours, "stable-baselines3": stable_baselines}


def work(side: str, seed: int, threads: int, steps: int, began: float) -> None:
    """Learn twice in this process, and print what it took as JSON."""
    if side != "roboopt":
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
    first = SIDES[side](seed, steps)
    whole = time.time() - began
    spent = []
    for number in range(ROUNDS + 1):
        before = time.perf_counter()
        first["collect"](number)
        spent.append(time.perf_counter() - before)
    row = {"whole": whole, "collecting": LENGTH * ENVS / float(np.median(spent[1:]))}
    if steps == STEPS:
        before = time.time()
        again = SIDES[side](seed, steps)
        for name, found, start in (("cold", first, began), ("warm", again, before)):
            at, taken = (found["reached"] or [(np.nan, np.nan)])[0]
            row |= {name: at - start, "steps": taken}
        row["return"] = first["judge"]()
    print(json.dumps(row))


def run(python: str, side: str, seed: int, threads: int, steps: int) -> dict:
    """Return what a process of `side` says."""
    command = [python, __file__, "--work", side, str(seed), str(threads), str(steps)]
    done = subprocess.run(
        [*command, str(time.time())],
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Let the sides run in turn, and print the medians and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", metavar="PYTHON", help="with stable-baselines3")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        side, seed, threads, steps, began = arguments.work
        work(side, int(seed), int(threads), int(steps), float(began))
        return
    pythons, threads = {"roboopt": sys.executable}, {"roboopt": 0}
    if arguments.torch:
        other = "stable-baselines3"
        pythons[other] = arguments.torch
        spent = {n: run(arguments.torch, other, 0, n, QUICK)["whole"] for n in (1, 2)}
        threads[other] = min(spent, key=lambda n: spent[n])
    found: dict[str, list[dict]] = {side: [] for side in pythons}
    for seed in range(arguments.runs):
        for side, python in pythons.items():
            found[side].append(run(python, side, seed, threads[side], STEPS))
    print(f"{TASK}, medians of {arguments.runs} seeds in turn")
    medians = {
        side: {name: float(np.median([one[name] for one in all])) for name in all[0]}
        for side, all in found.items()
    }
    for side, values in medians.items():
        cold = [one["cold"] for one in found[side]]
        returns = [one["return"] for one in found[side]]
        told = f", {threads[side]} thread(s)" if threads[side] else ""
        print(
            f"{side:18} {GOAL:.0f} after {values['cold']:6.2f} s cold "
            f"({min(cold):.2f} to {max(cold):.2f}), {values['warm']:.2f} s warm, "
            f"{values['steps']:.0f} steps; greedy {np.mean(returns):.1f} (least "
            f"{min(returns):.1f}); {values['collecting']:.0f} steps/s{told}"
        )
    if arguments.torch:
        us, them = medians["roboopt"], medians["stable-baselines3"]
        print(
            f"roboopt / stable-baselines3: {us['cold'] / them['cold']:.2f} of the "
            f"seconds cold, {us['warm'] / them['warm']:.2f} warm, "
            f"{us['collecting'] / them['collecting']:.2f} times the steps/s"
        )


if __name__ == "__main__":
    main()
