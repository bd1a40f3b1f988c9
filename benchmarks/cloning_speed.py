"""Gradient steps of cloning a second, beside a plain torch loop and imitation.

10 000 transitions of CartPole-v1 by a linear controller, a network of two hidden layers
of 64 (tanh), cross-entropy, batches of 256, Adam at 1e-3, 5000 steps, single precision:

- roboopt: `minimize` on a `CategoricalPolicy`;
- floor: the same loss, gradient and Adam in a bare `lax.scan`: what of roboopt's time
  is not its own;
- torch: indices shuffled every epoch, tensors indexed by them, no DataLoader;
- imitation: its `BC` with a policy of the same network.

The sides run in turn, each in a process of its own: from its start until the steps are
taken is cold, imports and compilation included; the same once more within it is warm.
Cross-entropy and accuracy are of all transitions, afterwards. The other sides need
their own Python; torch takes one thread or two, whichever is faster.

    python benchmarks/cloning_speed.py --torch PYTHON [--imitation PYTHON] [--runs 5]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STEPS, BATCH, WIDTH, RATE, COUNT = 5000, 256, 64, 1e-3, 10_000
GAINS = np.array([0.2, 0.5, 3.0, 1.0])  # pushes right where GAINS · observation > 0
QUICK = 300  # steps that the number of threads is chosen by


def record(path: Path) -> None:
    """Write the transitions: twenty episodes of 500 steps."""
    import gymnasium

    import roboopt as ro

    def balance(observation: np.ndarray) -> np.ndarray:
        return np.array([GAINS @ observation > 0], int)

    env = gymnasium.make("CartPole-v1")
    runs = ro.rollouts.collect(env, balance, episodes=COUNT // 500, seed=0)
    samples = ro.data.Demonstrations.from_trajectories(runs)
    np.savez(
        path,
        observations=samples.observations.astype(np.float32),
        actions=np.asarray(samples.actions),
    )


def ours(data: Any, _: int) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
    """Return what trains for so many steps, and what gives a model's scores."""
    import jax
    import optax

    import roboopt as ro

    samples = ro.data.Demonstrations(data["observations"], data["actions"])
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    adam = optax.adam(RATE)

    def train(steps: int) -> Any:
        policy = ro.policies.CategoricalPolicy.of(
            samples, key=jax.random.key(0), start=0, sizes=2, skip=False
        )
        return ro.minimize(
            objective, policy, samples, steps=steps, batch_size=BATCH, optimizer=adam
        ).model

    return train, lambda model: _probabilities(model, data)


def floor(data: Any, _: int) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
    """As `ours`, with nothing but what a step must do."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    import roboopt as ro

    samples = jax.tree.map(
        jnp.asarray, ro.data.Demonstrations(data["observations"], data["actions"])
    )
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    adam = optax.adam(RATE)

    @jax.jit
    def descend(trained: Any, rest: Any, samples: Any, rows: Any) -> Any:
        def step(carry, rows):
            trained, memory = carry
            batch = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), samples)

            def loss(trained):
                return objective(eqx.combine(trained, rest, static), batch)

            value, gradient = jax.value_and_grad(loss)(trained)
            updates, memory = adam.update(gradient, memory, trained)
            return (optax.apply_updates(trained, updates), memory), value

        return jax.lax.scan(step, (trained, adam.init(trained)), rows)[0][0]

    policy = ro.policies.CategoricalPolicy.of(
        samples, key=jax.random.key(0), start=0, sizes=2, skip=False
    )
    arrays, static = eqx.partition(policy, eqx.is_array)
    network = lambda p: p.network.perceptron  # noqa: E731
    mask = eqx.tree_at(network, jax.tree.map(lambda _: False, arrays), True)
    trained, rest = eqx.partition(arrays, mask)

    def train(steps: int) -> Any:
        generator = np.random.default_rng(0)
        epochs = -(-steps // (COUNT // BATCH))
        rows = [
            generator.permutation(COUNT)[: COUNT // BATCH * BATCH]
            for _ in range(epochs)
        ]
        rows = np.concatenate(rows).reshape(-1, BATCH)[:steps]
        found = descend(trained, rest, samples, jnp.asarray(rows))
        return jax.block_until_ready(eqx.combine(found, rest, static))

    return train, lambda model: _probabilities(model, data)


def _probabilities(model: Any, data: Any) -> np.ndarray:
    import jax

    return np.asarray(jax.vmap(model.probabilities)(data["observations"]))[:, 0]


def plain_torch(
    data: Any, threads: int
) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
    """As `ours`, in torch."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    observations = torch.from_numpy(data["observations"])
    actions = torch.from_numpy(data["actions"][:, 0]).long()

    def train(steps: int) -> Any:
        torch.manual_seed(0)
        layers = torch.nn
        network = layers.Sequential(
            layers.Linear(4, WIDTH),
            layers.Tanh(),
            layers.Linear(WIDTH, WIDTH),
            layers.Tanh(),
            layers.Linear(WIDTH, 2),
        )
        adam = torch.optim.Adam(network.parameters(), lr=RATE)
        order, used = torch.randperm(COUNT), 0
        for _ in range(steps):
            if used + BATCH > COUNT:
                order, used = torch.randperm(COUNT), 0
            rows = order[used : used + BATCH]
            used += BATCH
            loss = layers.functional.cross_entropy(
                network(observations[rows]), actions[rows]
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
        return network

    def score(network: Any) -> np.ndarray:
        with torch.no_grad():
            return torch.softmax(network(observations), 1).numpy()

    return train, score


def imitation_bc(
    data: Any, threads: int
) -> tuple[Callable[[int], Any], Callable[[Any], Any]]:
    """As `ours`, by imitation's `BC`, whose policy has a value network besides."""
    import gymnasium
    import torch  # pyright: ignore[reportMissingImports]
    from imitation.algorithms import bc  # pyright: ignore[reportMissingImports]
    from imitation.data.types import (  # pyright: ignore[reportMissingImports]
        Transitions,
    )
    from stable_baselines3.common import (  # pyright: ignore[reportMissingImports]
        policies,
    )

    torch.set_num_threads(threads)
    env = gymnasium.make("CartPole-v1")
    observations = data["observations"]
    demonstrations = Transitions(
        obs=observations,
        acts=data["actions"][:, 0],
        infos=np.array([{}] * COUNT),
        next_obs=observations,
        dones=np.zeros(COUNT, bool),
    )

    def train(steps: int) -> Any:
        policy = policies.ActorCriticPolicy(
            env.observation_space,
            env.action_space,
            lr_schedule=lambda _: RATE,
            net_arch=[WIDTH, WIDTH],
        )
        trainer = bc.BC(
            observation_space=env.observation_space,
            action_space=env.action_space,
            rng=np.random.default_rng(0),
            policy=policy,
            demonstrations=demonstrations,
            batch_size=BATCH,
            ent_weight=0.0,
            optimizer_kwargs={"lr": RATE},
            device="cpu",
        )
        trainer.train(n_batches=steps, progress_bar=False, log_interval=10**9)
        return policy

    def score(policy: Any) -> np.ndarray:
        with torch.no_grad():
            found = policy.get_distribution(torch.tensor(data["observations"]))
            return found.distribution.probs.numpy()

    return train, score


SIDES = {
    "roboopt": ours,
    "floor": floor,
    "torch": plain_torch,
    "imitation": imitation_bc,
}


def work(side: str, path: str, threads: int, steps: int, began: float) -> None:
    """Train twice in this process, and print what it took as JSON."""
    with np.load(path) as file:
        data = dict(file)
    train, score = SIDES[side](data, threads)
    model = train(steps)
    cold = time.time() - began
    before = time.perf_counter()
    model = train(steps)
    warm = time.perf_counter() - before
    chosen = np.take_along_axis(score(model), data["actions"], 1)[:, 0]
    print(
        json.dumps(
            {
                "cold [s]": cold,
                "steps/s": steps / warm,
                "cross-entropy": float(-np.log(np.maximum(chosen, 1e-30)).mean()),
                "accuracy": float((chosen > 0.5).mean()),
            }
        )
    )


def run(python: str, side: str, path: Path, threads: int, steps: int) -> dict:
    """Return what a process of `side` says."""
    command = [python, __file__, "--work", side, str(path), str(threads), str(steps)]
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
    parser.add_argument("--torch", metavar="PYTHON", help="one that has torch")
    parser.add_argument("--imitation", metavar="PYTHON", help="one that has imitation")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        side, path, threads, steps, began = arguments.work
        work(side, path, int(threads), int(steps), float(began))
        return
    pythons = {"roboopt": sys.executable, "floor": sys.executable}
    for side in ("torch", "imitation"):
        if getattr(arguments, side):
            pythons[side] = getattr(arguments, side)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transitions.npz"
        record(path)
        threads = {}
        for side in pythons:
            rates = {0: 0.0}
            if side in ("torch", "imitation"):
                rates = {
                    n: run(pythons[side], side, path, n, QUICK)["steps/s"]
                    for n in (1, 2)
                }
            threads[side] = max(rates, key=lambda n: rates[n])
        found: dict[str, list[dict]] = {side: [] for side in pythons}
        for _ in range(arguments.runs):
            for side, python in pythons.items():
                found[side].append(run(python, side, path, threads[side], STEPS))
    medians = {
        side: {name: float(np.median([one[name] for one in all])) for name in all[0]}
        for side, all in found.items()
    }
    print(f"{STEPS} steps, medians of {arguments.runs} runs in turn")
    for side, values in medians.items():
        spread = [one["steps/s"] for one in found[side]]
        told = f", {threads[side]} thread(s)" if threads[side] else ""
        print(
            f"{side:10} {values['steps/s']:8.0f} steps/s warm "
            f"({min(spread):.0f} to {max(spread):.0f}), {values['cold [s]']:6.2f} s "
            f"cold, cross-entropy {values['cross-entropy']:.4f}, accuracy "
            f"{values['accuracy']:.4f}{told}"
        )
    for side in ("floor", "torch", "imitation"):
        if side in medians:
            warm = medians["roboopt"]["steps/s"] / medians[side]["steps/s"]
            cold = medians[side]["cold [s]"] / medians["roboopt"]["cold [s]"]
            print(f"roboopt / {side}: {warm:.2f} times the steps/s, {cold:.2f} cold")


if __name__ == "__main__":
    main()
