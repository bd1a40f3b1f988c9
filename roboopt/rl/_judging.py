"""What `reinforce` returns: the policy as it was learned, and then as it is judged."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._interrupt import ending
from roboopt.diagnose import Explanation, explain, explain_descent, norm_by_horizon
from roboopt.objectives import NegativeReward, PPOLoss
from roboopt.optimize import Result
from roboopt.policies import ActorCritic, GaussianExploration
from roboopt.report import progress_bar
from roboopt.rl._monitor import Monitor
from roboopt.rl._parameter_noise import ParameterNoise
from roboopt.rl._policies import acting_policy
from roboopt.rl._result import INTERRUPTED, ReinforceResult
from roboopt.rl._returns import Returns
from roboopt.rl._run import Measured, Run
from roboopt.rl._task import PROBE_STARTS, Task
from roboopt.rollouts import (
    EVALUATION_SEED_OFFSET,
    MAX_EPISODE_STEPS,
    EnvError,
    Evaluation,
    evaluate,
    signals,
)
from roboopt.view import env_scene, scene_or_none

EXPLAINED_SAMPLES = 1024


def unjudged(
    task: Task, run: Run, monitor: Monitor, result: Result, new: bool
) -> ReinforceResult:
    """Return the policy with all that is known before it is evaluated."""
    space = task.env.action_space
    policy, start = (acting_policy(x, space) for x in (result.model, run.model))
    reason, message = monitor.ending(result.reason, result.message)
    return ReinforceResult(
        policy=policy,
        agent=result.model,
        start=start,
        fresh=new,
        env=task.spec,
        name=task.name,
        signals=signals(task.env),
        algorithm=type(run.algorithm).__name__,
        settings=dataclasses.asdict(run.algorithm),
        gradient=run.algorithm.gradient,
        choice=run.choice,
        history=_history(result, run),
        explained={},
        returns=Returns.from_rows(monitor.rows),
        evaluation=None,
        start_evaluation=None,
        evaluation_failure=INTERRUPTED,
        gradient_by_horizon=None,
        horizon=run.horizon,
        reused=getattr(run.data, "steps", 1),
        steps=result.steps,
        timesteps=monitor.timesteps,
        seconds=result.seconds,
        compile_seconds=result.compile_seconds,
        target=task.target,
        seed=task.seed,
        max_steps=task.horizon,
        reason=reason,
        message=message,
        scene=scene_or_none(env_scene, task.env),
        judged_beside=isinstance(run.progress, Measured),
    )


def judged(
    made: ReinforceResult,
    task: Task,
    run: Run,
    result: Result,
    episodes: int,
    progress: bool,
) -> ReinforceResult:
    """Evaluate the policy and its start; after Ctrl-C return what is known by then."""
    found: dict[str, Any] = {}
    try:
        if ending():
            raise KeyboardInterrupt  # of the learning: the command is to end
        if episodes:
            with progress_bar("evaluating", 2 * episodes, progress) as advance:
                found["evaluation"] = _evaluated(task, made.policy, episodes, advance)
                start = _evaluated(task, made.start, episodes, advance)
                found["start_evaluation"] = start
            if run.horizon is not None:
                # At the start: where nothing is left to gain all gradients are noise.
                reward, starts = NegativeReward(task.twin), task.starts(PROBE_STARTS)
                norms = norm_by_horizon(reward, made.start, starts)
                found["gradient_by_horizon"] = norms
        found["evaluation_failure"] = ""
    except KeyboardInterrupt:
        pass
    except EnvError as error:
        found["evaluation_failure"] = str(error)
    made = dataclasses.replace(made, **found)
    try:
        explained = {} if ending() else _explained(result, run)
        return dataclasses.replace(made, explained=explained)
    except KeyboardInterrupt:
        return made


def _evaluated(
    task: Task, policy: Any, episodes: int, advance: Callable[[], None]
) -> Evaluation:
    try:
        return evaluate(
            task.source,
            policy,
            episodes=episodes,
            seed=task.seed + EVALUATION_SEED_OFFSET,
            max_steps=MAX_EPISODE_STEPS if task.horizon is None else task.horizon,
            processes=task.processes,
            workers=task.workers,
            progress=lambda _: advance(),
        )
    except Exception as error:
        # The user's environment failed: what was learned is not lost by it.
        text = f"the evaluation failed: {type(error).__name__}: {error}"
        raise EnvError(text) from error


def _explained(result: Result, run: Run) -> dict[str, Explanation]:
    """Explain the gradient at both ends, as far as it costs no simulation."""
    found = explain_descent(run.model, result)
    last = getattr(run.data, "last", None)
    if isinstance(run.objective, PPOLoss) and last is not None:
        count = len(last.data.returns)
        rows = np.linspace(0, count - 1, min(count, EXPLAINED_SAMPLES)).astype(int)
        batch = jax.tree.map(lambda x: jnp.asarray(x)[rows], last.data)
        found["end"] = explain(run.objective, result.model, batch)
    return {when: _by_joint(each, run.model) for when, each in found.items()}


def _by_joint(found: Explanation, model: Any) -> Explanation:
    """Return the explanation with a controller's gains by joint, and their units."""
    for inside in (ActorCritic, GaussianExploration, ParameterNoise):
        model = model.policy if isinstance(model, inside) else model
    gains, robot = getattr(model, "gain_units", {}), getattr(model, "robot", None)
    known = {}
    if robot is not None:
        joints = robot.value.joint_names
        for name, units in gains.items():
            for k, (joint, unit) in enumerate(zip(joints, units, strict=True)):
                known[f"{name}[{k}]"] = f"{name}[{joint}]", unit
    # Of an agent, the names begin with the place of the policy.
    names, units = list(found.names), list(found.units)
    for row, name in enumerate(found.names):
        before, dot, last = name.rpartition(".")
        if last in known:
            own, units[row] = known[last]
            names[row] = before + dot + own
    return dataclasses.replace(found, names=tuple(names), units=tuple(units))


def _history(result: Result, run: Run) -> dict[str, np.ndarray]:
    """Return the history, with the gradients that were measured beside the descent."""
    if not run.gradients:
        return result.history
    measured = np.full((len(result.history["loss"]), 2), np.nan)
    for step, values in run.gradients.items():
        measured[min(step, len(measured) - 1)] = values
    norm, ratio = measured.T
    beside = {"relative_gradient_norm": norm, "gradient_snr": ratio}
    return {**result.history, **beside}
