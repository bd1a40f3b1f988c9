"""The course of `roboopt tune`: claim the folder, descend, save, judge, report.

What a descent found is saved before it is judged, so that whatever ends the rest takes
nothing away.
"""

import contextlib
import csv
import dataclasses
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

import roboopt as ro
from roboopt.cli import _comparison as comparison
from roboopt.cli import _recipes as recipes
from roboopt.cli import _tune_report
from roboopt.cli._console import print_comparison, progress
from roboopt.cli._film import film, frames
from roboopt.cli._fitted_model import left_out, load_model
from roboopt.cli._judge import judge
from roboopt.cli._rounds import descend
from roboopt.cli._run_folder import SETTINGS, claim, clear, write_json
from roboopt.cli._settings import plain, settings
from roboopt.cli._usage import UsageError

# Seeds of the judging are far from those of the tuning, which users count from 0.
JUDGED = 1_000_003
TITLE = "Tuning {a.subject} to {a.goal}"


def tune(arguments: Any) -> int:
    """Run the whole command and return its exit code.

    Args:
        arguments: a checked `Tune`.

    Raises:
        UsageError: if the folder or the robot cannot be worked with.
    """
    jax.config.update("jax_enable_x64", True)
    title = f"{arguments.subject}-{arguments.goal}"
    folder = claim(arguments.runs, arguments.name, title, overwrite=arguments.overwrite)
    try:
        from roboopt_envs import import_pybullet_silently

        import_pybullet_silently()
        recipe = _recipe(arguments)
    except BaseException:
        _remove_if_empty(folder)
        raise
    clear(folder)
    chosen = {
        "steps": arguments.steps or recipe.steps,
        "starts": len(recipe.starts),
        "seed_of_judging": arguments.seed + JUDGED,
    }
    recorded = settings(arguments, recipe, chosen)
    write_json(folder / SETTINGS, recorded)

    print(f"{TITLE.format(a=arguments)}: {folder}", file=sys.stderr)
    try:
        result = _descend(arguments, recipe, chosen["steps"])
    except BaseException:
        clear(folder)
        _remove_if_empty(folder)
        raise
    recorded["result"] = {
        name: plain(getattr(result, name))
        for name in ("loss", "reason", "message", "steps", "seconds", "compile_seconds")
    }
    write_json(folder / SETTINGS, recorded)
    ro.save(folder / "controller.npz", result.model)
    _write_history(folder / "history.csv", result, _units(recipe))
    try:
        _judge_and_report(folder, arguments, recipe, result, recorded)
    except KeyboardInterrupt:
        _say_where(folder)
        raise
    _say_where(folder)
    return 0


def _recipe(arguments: Any) -> Any:
    common = {
        name: getattr(arguments, name)
        for name in ("duration", "seed", "starts", "work_weight", "joule_weight")
    }
    model = None if arguments.model is None else load_model(arguments.model)
    try:
        if arguments.kind == "cart-pole":
            recipe = recipes.cart_pole(task=arguments.goal, model=model, **common)
        else:
            robot = str(arguments.urdf) if arguments.urdf else arguments.subject
            recipe = recipes.arm(robot=robot, model=model, **common)
    except (ValueError, OSError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    if model is None:
        return recipe
    said = f"as fitted in {arguments.model}"
    if beside := left_out(model):
        said += f", without its {', '.join(beside)}"
        warnings.warn(
            f"--model: the robot is simulated without what was fitted beside it: "
            f"{', '.join(beside)}",
            stacklevel=2,
        )
    return dataclasses.replace(recipe, summary={"robot": said, **recipe.summary})


def _descend(arguments: Any, recipe: Any, steps: int) -> ro.Result:
    try:
        result = descend(
            recipe,
            steps=steps,
            seconds=arguments.seconds or math.inf,
            seed=arguments.seed,
            progress=True,
            say=lambda line: print(line, file=sys.stderr),
        )
    except ValueError as error:  # such as a loss that is not finite at the start
        raise UsageError(" ".join(str(error).split())) from error
    if not len(result.history["loss"]):
        raise KeyboardInterrupt  # before the first step: there is nothing to keep
    return result


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _judge_and_report(
    folder: Path, arguments: Any, recipe: Any, result: Any, recorded: dict[str, Any]
) -> None:
    starts = recipe.env.sample_starts(arguments.episodes, seed=arguments.seed + JUDGED)
    controllers = {"before": recipe.controller, "after": result.model}
    filmed = 0 if arguments.no_video else 2 * frames(recipe.env)
    with progress(2 * (arguments.episodes + 1)) as advance:
        runs = judge(recipe, controllers, starts, progress=advance)
    for label, made in runs.items():
        made.pybullet.save(folder / f"{label}.npz")
    compared = comparison.compare(recipe, runs)
    print_comparison(compared, result.message)
    made = {label: run.pybullet for label, run in runs.items()}
    video = None
    if filmed:
        with progress(filmed, "filming") as advance:
            video = film(recipe.env, made, compared.filmed, advance)
    run = _tune_report.Run(
        TITLE.format(a=arguments),
        recipe,
        result,
        runs,
        compared,
        recorded,
        video,
    )
    _tune_report.write(folder / "report.html", run)


def _say_where(folder: Path) -> None:
    made = [
        name for name in ("report.html", "controller.npz") if (folder / name).exists()
    ]
    for name in made:
        print(folder / name)
    print(f'The controller loads with: roboopt.load("{folder / "controller.npz"}")')


def _units(recipe: Any) -> dict[str, str]:
    """Return the unit of every term, for which nothing has to be computed."""
    terms = eqx.filter_eval_shape(
        recipe.objective.terms, recipe.controller, recipe.starts
    )
    return {name: term.unit for name, term in terms.items()}


def _write_history(path: Path, result: Any, units: dict[str, str]) -> None:
    """Write a row a step: the loss, and every term in its unit."""
    names = {
        "loss": "loss",
        **{name: f"{name} [{unit}]" for name, unit in units.items()},
    }
    columns = [result.history[name] for name in names]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *names.values()])
        for step, values in enumerate(zip(*columns, strict=True)):
            writer.writerow([step, *(repr(float(value)) for value in values)])
