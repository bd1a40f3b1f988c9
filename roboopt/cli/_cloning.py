"""The course of `roboopt clone`: read, check, train, save, judge, report.

What the training found is saved before it is judged, so that whatever ends the rest
takes nothing away.
"""

import contextlib
import math
import sys
from typing import Any

import equinox as eqx
import jax

import roboopt as ro
from roboopt.cli import _clone_report, _clone_tables
from roboopt.cli._clone_data import Data, read
from roboopt.cli._clone_recipe import Recipe, recipe
from roboopt.cli._console import print_judged
from roboopt.cli._demonstrators import demonstrator
from roboopt.cli._environment import label, make
from roboopt.cli._evaluated import evaluated
from roboopt.cli._film import performance
from roboopt.cli._run_folder import SETTINGS, claim, clear, write_json
from roboopt.cli._settings import plain, surroundings
from roboopt.cli._usage import UsageError
from roboopt.report import write_history

# Seeds of the judging are far from those of the collecting, which users count from 0.
JUDGED = 1_000_003
ASKED = 2_000_003
EPISODES_A_ROUND = 5
HELD_EVERY = 0.5  # s
FILES = "report.html", "policy.npz"


def clone(arguments: Any) -> int:
    """Run the whole command and return its exit code.

    Args:
        arguments: a checked `Clone`.

    Raises:
        UsageError: if folder, environment or demonstrations cannot be worked with.
    """
    jax.config.update("jax_enable_x64", True)
    title = f"{label(arguments.env, arguments.option)}-clone"
    folder = claim(arguments.runs, arguments.name, title, overwrite=arguments.overwrite)
    try:
        env = make(arguments.env, arguments.option, film=not arguments.no_video)
        found = read(arguments, env)
        expert, said = _expert(arguments, env)
        plan = recipe(arguments, env, found)
        print(f"Cloning {label(arguments.env, ())}: {folder}", file=sys.stderr)
        result, held = _train(arguments, env, found, expert, plan)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    clear(folder)
    acting = plan.wrap(result.model)
    ro.save(folder / "policy.npz", acting)
    write_history(folder / "history.csv", result.history)
    settings = _settings(arguments, env, plan, result)
    write_json(folder / SETTINGS, settings)
    try:
        actors = {"clone": acting}
        if expert is not None:
            actors = {"demonstrator": expert, **actors}
        judged = evaluated(arguments, env, actors, arguments.seed + JUDGED)
        ro.data.save_episodes(folder / "episodes.npz", judged["clone"].trajectories)
        errors = _clone_tables.held_out_errors(result.model, plan, found)
        outcome = _clone_tables.Outcome(
            judged=judged,
            recorded=found.train if expert is None else None,
            demonstrator=said,
            mismatch={
                "training": float(plan.objective(result.model, _some_of(plan))),
                "held out": float(plan.objective(result.model, plan.held)),
            },
            errors=errors,
            message=result.message,
        )
        settings["outcome"] = plain(outcome.numbers())
        write_json(folder / SETTINGS, settings)
        print_judged(outcome)
        film = None
        if not arguments.no_video:
            film = performance(env, actors, arguments.seed + JUDGED)
        run = _clone_report.Run(
            title=f"Cloning {label(arguments.env, arguments.option)}",
            env=env,
            plan=plan,
            result=result,
            held=held,
            outcome=outcome,
            findings=[str(finding) for finding in found.findings],
            settings=settings,
            film=film,
        )
        _clone_report.write(folder / "report.html", run)
    finally:
        for name in FILES:
            if (folder / name).exists():
                print(folder / name)
        print(f'The policy loads with: roboopt.load("{folder / "policy.npz"}")')
    return 0


def _expert(arguments: Any, env: Any) -> tuple[Any, str]:
    """Return who demonstrated, None if that is not known, and it in words."""
    if arguments.demonstrator is not None:
        return demonstrator(env, arguments.demonstrator)
    if arguments.dagger:
        raise UsageError("--dagger asks the demonstrator again: give --demonstrator")
    return None, "as recorded"


def _train(
    arguments: Any, env: Any, found: Data, expert: Any, plan: Recipe
) -> tuple[ro.Result, list[tuple[int, float]]]:
    """Return the result, and the mismatch on held-out demonstrations as it went."""
    measure = eqx.filter_jit(plan.objective)
    held: list[tuple[int, float]] = [(0, float(measure(plan.policy, plan.held)))]
    last = [0.0]

    def watch(status: Any) -> None:
        if status.seconds - last[0] > HELD_EVERY:
            held.append((status.step, float(measure(status.model, plan.held))))
            last[0] = status.seconds

    data, batch_size = plan.data, plan.batch_size
    if arguments.dagger:
        if batch_size is None or found.folder is not None:
            raise UsageError(
                "--dagger needs demonstrations in memory and a --policy other than flow"
            )
        data = ro.imitation.DAgger(
            env,
            expert,
            found.train,
            episodes=EPISODES_A_ROUND,
            steps=max(1, arguments.steps // (arguments.dagger + 1)),
            seed=arguments.seed + ASKED,
            wrap=plan.wrap,
            **plan.cut,
        )
    try:
        result = ro.minimize(
            plan.objective,
            plan.policy,
            data,
            steps=arguments.steps,
            batch_size=batch_size,
            seconds=arguments.seconds or math.inf,
            seed=arguments.seed,
            callback=watch,
            progress=True,
        )
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    if not len(result.history["loss"]):
        raise KeyboardInterrupt  # before the first step: there is nothing to keep
    held.append((result.steps, float(measure(result.model, plan.held))))
    return result, held


def _some_of(plan: Recipe) -> Any:
    """Return a batch of what was learned from, as large as that held out."""
    if plan.batch_size is None:
        return plan.data(plan.policy, jax.random.key(1))
    return plan.samples


def _settings(
    arguments: Any, env: Any, plan: Recipe, result: ro.Result
) -> dict[str, Any]:
    names = ("loss", "reason", "message", "steps", "seconds", "compile_seconds")
    return {
        "arguments": plain(arguments),
        "environment": {
            "id": arguments.env,
            "observations": str(env.observation_space),
            "actions": str(env.action_space),
            "observation_size": env.observation_space.shape[0],
        },
        "training": plan.summary,
        "seed_of_judging": arguments.seed + JUDGED,
        "result": {name: plain(getattr(result, name)) for name in names},
        **surroundings(),
    }
