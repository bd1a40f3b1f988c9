"""The course of `roboopt reinforce`: learn, save, judge, report.

What was learned is saved before it is judged, so that whatever ends the rest takes
nothing away; and while it learns, there is a checkpoint to go on from.
"""

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

import jax

import roboopt as ro
from roboopt.cli import _reinforce_report
from roboopt.cli._console import print_judged
from roboopt.cli._demonstrators import saved
from roboopt.cli._environment import keywords_of, label, make
from roboopt.cli._evaluated import evaluated
from roboopt.cli._film import performance
from roboopt.cli._reinforce import CHECKPOINT
from roboopt.cli._reinforce_tables import LEARNED, START, Outcome
from roboopt.cli._run_folder import SETTINGS, claim, clear, write_history, write_json
from roboopt.cli._settings import plain, surroundings
from roboopt.cli._usage import UsageError

RETURNS = "returns.csv"
JUDGED = 3_000_003  # Far from the seeds of the learning.
FILES = "report.html", "policy.npz"


def reinforce(arguments: Any) -> int:
    """Run the whole command and return its exit code.

    Args:
        arguments: a checked `Reinforce`; of a run that is resumed, that run's.

    Raises:
        UsageError: if folder, environment or policy cannot be worked with.
    """
    jax.config.update("jax_enable_x64", True)
    # An action is asked for at every step, and is sooner computed than handed over.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` finds a user's own module
    folder = _folder(arguments)
    try:
        env = make(arguments.env, arguments.option, film=not arguments.no_video)
        first = arguments.policy
        if arguments.from_ is not None:
            first, _ = saved("--from", arguments.from_)
        print(f"Learning {label(arguments.env, ())}: {folder}", file=sys.stderr)
        with _Beginning(arguments, env, folder) as beginning:
            learned = _learn(arguments, first, folder, beginning)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    ro.save(folder / "policy.npz", learned.policy)
    write_history(folder / "history.csv", learned.history)
    learned.returns.write(folder / RETURNS)
    settings = _settings(arguments, env) | _course(learned)
    write_json(folder / SETTINGS, settings)
    actors = {LEARNED: learned.policy}
    if not learned.fresh:
        actors = {START: learned.began, **actors}
    try:
        judged = evaluated(arguments, env, actors, arguments.seed + JUDGED)
        ro.data.save_episodes(
            folder / "episodes.npz", judged[LEARNED].trajectories.episodes()
        )
        outcome = Outcome(learned, judged, _norms(learned))
        settings["outcome"] = plain(outcome.numbers())
        write_json(folder / SETTINGS, settings)
        print_judged(outcome)
        film = None
        if not arguments.no_video:
            film = performance(env, actors, arguments.seed + JUDGED)
        run = _reinforce_report.Run(
            title=f"Learning {label(arguments.env, arguments.option)}",
            env=env,
            outcome=outcome,
            settings=settings,
            film=film,
            target=arguments.target,
        )
        _reinforce_report.write(folder / "report.html", run)
    finally:
        for name in FILES:
            if (folder / name).exists():
                print(folder / name)
        print(f'The policy loads with: roboopt.load("{folder / "policy.npz"}")')
    return 0


def _folder(arguments: Any) -> Path:
    if arguments.resume is not None:
        return Path(arguments.resume)
    title = f"{label(arguments.env, arguments.option)}-reinforce"
    return claim(arguments.runs, arguments.name, title, overwrite=arguments.overwrite)


class _Beginning:
    """Leaves an earlier run in its folder until the new one has taken a step."""

    def __init__(self, arguments: Any, env: Any, folder: Path):
        self._arguments, self._env, self._folder = arguments, env, folder
        self._begun = False
        self._file = folder / CHECKPOINT
        self._aside = folder / f".{CHECKPOINT}"

    def __enter__(self) -> "_Beginning":
        if self._arguments.resume is None and self._file.exists():
            self._file.rename(self._aside)
        return self

    def __call__(self, learning: Any) -> None:
        if self._begun:
            return
        self._begun = True
        if self._arguments.resume is None:
            clear(self._folder)
        write_json(self._folder / SETTINGS, _settings(self._arguments, self._env))

    def __exit__(self, *error: Any) -> None:
        if not self._begun and self._aside.exists():
            self._aside.rename(self._file)


def _learn(
    arguments: Any, first: Any, folder: Path, beginning: _Beginning
) -> ro.rl.ReinforceResult:
    network = {
        "width": arguments.width,
        "depth": arguments.depth,
        "angles": arguments.angles or None,
    }
    try:
        learned = ro.reinforce(
            arguments.env,
            policy=first,
            gradient=arguments.gradient,
            timesteps=arguments.timesteps,
            seconds=arguments.seconds or math.inf,
            target=arguments.target,
            envs=arguments.envs,
            processes=arguments.processes,
            max_steps=arguments.max_steps,
            options=keywords_of(arguments.option),
            seed=arguments.seed,
            progress=True,
            callback=beginning,
            checkpoint=folder / CHECKPOINT,
            log=folder / RETURNS,
            **{name: value for name, value in network.items() if value is not None},
        )
    except (ValueError, ro.rollouts.EnvError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    if not len(learned.result.history["loss"]):
        raise KeyboardInterrupt  # before the first step: there is nothing to keep
    return learned


def _norms(learned: ro.rl.ReinforceResult) -> ro.diagnose.HorizonNorms | None:
    if learned.norm_by_horizon is None:
        return None
    # At what it began with: where nothing is left to gain all gradients are noise.
    return learned.norm_by_horizon(learned.began)


def _settings(arguments: Any, env: Any) -> dict[str, Any]:
    return {
        "arguments": plain(arguments),
        "environment": {
            "id": arguments.env,
            "observations": str(env.observation_space),
            "actions": str(env.action_space),
            "observation_size": env.observation_space.shape[0],
        },
        "seed_of_judging": arguments.seed + JUDGED,
        **surroundings(),
    }


def _course(learned: ro.rl.ReinforceResult) -> dict[str, Any]:
    names = ("loss", "steps", "seconds", "compile_seconds")
    return {
        "choice": learned.choice,
        "result": {
            **{name: plain(getattr(learned.result, name)) for name in names},
            "timesteps": learned.timesteps,
            "reason": learned.reason,
            "message": learned.message,
        },
    }
