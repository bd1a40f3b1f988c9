"""What `roboopt clone` trains: a policy and an objective that fit data and spaces."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro
from roboopt.cli._clone_data import Data
from roboopt.cli._usage import UsageError
from roboopt.data import Demonstrations
from roboopt.losses import L1

LOSSES: dict[str, Callable[[], Any]] = {
    "squared": ro.losses.L2,
    "huber": ro.losses.Huber,
    "l1": L1,
}
SAMPLES_HELD = 4096  # flow_batches, of held-out demonstrations


@dataclass(frozen=True)
class Recipe:
    """All that a training needs."""

    policy: Any
    objective: Any
    samples: Demonstrations
    data: Any
    """What `minimize` draws from."""
    batch_size: int | None
    held: Any
    """A batch of what is held out."""
    wrap: Callable[[Any], Any]
    """Makes of the policy what acts."""
    cut: dict[str, Any]
    """How demonstrations are cut into samples: history, chunk, low and high."""
    summary: dict[str, str]


def recipe(arguments: Any, env: Any, found: Data) -> Recipe:
    """Return the recipe for demonstrations in `env`.

    Raises:
        UsageError: if the policy that is asked for does not fit the actions.
    """
    discrete = not hasattr(env.action_space, "low")
    kind = arguments.policy or ("categorical" if discrete else "network")
    if discrete != (kind == "categorical"):
        other = "--policy categorical" if discrete else "another --policy"
        raise UsageError(
            f"--policy {kind} does not fit the actions, {env.action_space}: choose "
            f"{other}"
        )
    cut = {"history": arguments.history, "chunk": arguments.chunk}
    if not discrete:
        cut |= {
            name: limit
            for name, limit in (
                ("low", env.action_space.low),
                ("high", env.action_space.high),
            )
            if np.isfinite(limit).any()
        }
    samples, tests, source = found.samples(**cut)
    samples, tests = _floating(samples), _floating(tests)
    policy, said = _policy(kind, arguments, env, samples)
    loss = _loss(kind, arguments)
    scale = _scale(samples.actions) if kind == "network" else None
    objective = ro.ActionMismatch(scale=scale, loss=loss)
    batch_size = min(arguments.batch_size, len(samples))
    flow = isinstance(loss, ro.losses.FlowMatching)
    held = tests
    if flow:
        held = ro.losses.flow_batches(tests, SAMPLES_HELD)(policy, jax.random.key(0))
        if source is not None:
            raise UsageError(
                "--policy flow needs demonstrations that fit in memory: choose mixture"
            )
    count = len(samples) if source is None else len(source)
    summary = {
        "policy": said,
        "acts on": "the last observation"
        if arguments.history == 1
        else f"the last {arguments.history} observations",
        "objective": _described(loss),
        "demonstrations": f"{count} samples; held out, whole episodes of {len(tests)}",
    }
    if arguments.chunk is not None:
        summary["chunks"] = f"{arguments.chunk} actions predicted at once"
    return Recipe(
        policy=policy,
        objective=objective,
        samples=samples,
        data=ro.losses.flow_batches(samples, batch_size) if flow else source or samples,
        batch_size=None if flow else batch_size,
        held=held,
        wrap=lambda model: _acting(
            model, kind, arguments, samples.observations.shape[-1]
        ),
        cut=cut,
        summary=summary,
    )


def _floating(samples: Demonstrations) -> Demonstrations:
    """Return the samples in JAX's own precision."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, float) if x.dtype.kind == "f" else jnp.asarray(x),
        samples,
    )


def _policy(
    kind: str, arguments: Any, env: Any, samples: Demonstrations
) -> tuple[Any, str]:
    world = env.unwrapped
    own = type(world).__module__.startswith("roboopt_envs")
    size = env.observation_space.shape[0]
    angles = arguments.angles
    if not angles and own and type(world).__name__ == "CartPoleSwingUp":
        angles = (1,)
    for axis in angles:
        if not 0 <= axis < size:
            raise UsageError(
                f"--angles must be axes 0 to {size - 1} of an observation, got {axis}"
            )
    settings: dict[str, Any] = {
        "key": jax.random.key(arguments.seed),
        "width": arguments.width,
        "depth": arguments.depth,
        "angles": tuple(
            axis + size * k for k in range(arguments.history) for axis in angles
        ),
    }
    said = f"{kind}, {arguments.depth} hidden layers of {arguments.width}"
    if kind == "categorical":
        space = env.action_space
        sizes = np.atleast_1d(space.nvec if hasattr(space, "nvec") else space.n)
        settings["sizes"] = tuple(int(n) for n in sizes)
        start = np.broadcast_to(np.asarray(space.start), sizes.shape)
        settings["start"] = tuple(int(n) for n in start)
        return ro.policies.CategoricalPolicy.of(samples, **settings), said
    if kind == "tanh-gaussian":
        low, high = env.action_space.low, env.action_space.high
        if not np.all(np.isfinite(low) & np.isfinite(high)):
            raise UsageError(
                f"--policy tanh-gaussian needs actions with limits, got "
                f"{env.action_space}: choose gaussian"
            )
        return ro.policies.TanhGaussianPolicy.of(
            samples, low=low, high=high, **settings
        ), said
    make = {
        "network": ro.policies.MLPPolicy.of,
        "gaussian": ro.policies.GaussianPolicy.of,
        "mixture": ro.policies.GMMPolicy.of,
        "flow": ro.policies.FlowPolicy.of,
    }[kind]
    if own and type(world).__name__ == "ArmReach" and arguments.chunk is None:
        # What holds the arm still is known, and most of what there is to learn.
        robot = ro.Twin.from_env(world).robot
        first = size * (arguments.history - 1)
        policy = ro.policies.GravityCompensated.of(
            samples, robot, make, first=first, **settings
        )
        return policy, f"{said}, on top of gravity compensation"
    return make(samples, **settings), said


def _loss(kind: str, arguments: Any) -> Any:
    if kind == "network":
        return LOSSES[arguments.loss or "squared"]()
    return (
        ro.losses.FlowMatching()
        if kind == "flow"
        else ro.losses.NegativeLogLikelihood()
    )


def _described(loss: Any) -> str:
    return {
        "L2": "squared errors of the actions over their spread",
        "Huber": "Huber's loss of the actions' errors over their spread",
        "L1": "absolute errors of the actions over their spread",
        "NegativeLogLikelihood": "negative log-likelihood of the actions",
        "FlowMatching": "flow matching from noise to the actions",
    }[type(loss).__name__]


def _scale(actions: Any) -> np.ndarray:
    """Return the actions' standard deviations; 1 where one never changes."""
    spread = np.asarray(actions).reshape(-1, actions.shape[-1]).std(0)
    return np.where(spread > 0, spread, 1.0)


def _acting(model: Any, kind: str, arguments: Any, size: int) -> Any:
    """Return what acts: a flow is drawn from, chunks and histories need a memory."""
    if kind == "flow":
        model = ro.policies.SampleActions(model)
    if arguments.chunk is not None:
        # The mean of chunks drawn from a flow could lie between two ways.
        means = kind not in ("flow", "mixture", "categorical")
        model = ro.policies.ActionChunking(model, size, 0.01 if means else None)
    if arguments.history > 1:
        model = ro.policies.ObservationHistory(
            model, arguments.history, size // arguments.history
        )
    return model
