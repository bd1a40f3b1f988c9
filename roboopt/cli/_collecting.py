"""The course of `roboopt collect`: make, record, say what was recorded, save."""

import shlex
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import roboopt as ro
from roboopt.cli._demonstrators import demonstrator
from roboopt.cli._environment import label, make
from roboopt.cli._usage import UsageError
from roboopt.data import Trajectory
from roboopt.report import progress_bar


def collect(arguments: Any) -> int:
    """Run the whole command and return its exit code.

    Args:
        arguments: a checked `Collect`.

    Raises:
        UsageError: if the environment, the demonstrator or the file cannot be worked
            with.
    """
    jax.config.update("jax_enable_x64", True)
    out = arguments.out
    if out is None:
        out = Path(f"{label(arguments.environment, arguments.option)}-demos.npz")
    if out.exists() and not arguments.overwrite:
        raise UsageError(f"{out} exists already: give another --out, or --overwrite")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out must lie in a folder, but {out.parent} is none")
    env = make(arguments.environment, arguments.option)
    expert, said = demonstrator(env, arguments.demonstrator)
    print(f"Recording {said}", file=sys.stderr)
    acts, labels = expert, None
    if arguments.noise > 0:
        acts, labels = (
            ro.policies.ActionNoise(expert, _noise(env, arguments.noise)),
            expert,
        )
    try:
        with progress_bar("recording", arguments.episodes) as advance:
            made = ro.rollouts.collect(
                env,
                acts,
                episodes=arguments.episodes,
                seed=arguments.seed,
                label=labels,
                max_steps=arguments.max_steps,
                progress=lambda _: advance(),
            )
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    episodes = made.episodes()
    print(_described(episodes))
    if arguments.only_successes:
        episodes = _successes(episodes)
    ro.data.save_episodes(out, episodes)
    print(out)
    demonstrator_path = arguments.demonstrator
    if isinstance(expert, eqx.Module):
        demonstrator_path = out.with_name(f"{out.stem}-demonstrator.npz")
        ro.save(demonstrator_path, expert)
        print(demonstrator_path)
    words = ["roboopt", "clone", str(out), "--env", arguments.environment]
    if arguments.option:
        words += ["--option", *arguments.option]
    words += ["--demonstrator", str(demonstrator_path)]
    print(f"To clone it: {shlex.join(words)}")
    return 0


def _noise(env: Any, share: float) -> np.ndarray:
    space = env.action_space
    low, high = (np.asarray(getattr(space, n, np.nan)) for n in ("low", "high"))
    half = (high - low) / 2
    if half.ndim != 1 or not np.all(np.isfinite(half)):
        raise UsageError(f"--noise needs actions with limits, got {space}")
    return share * half


def _described(episodes: list[Trajectory]) -> str:
    steps = [run.steps for run in episodes]
    total = [float(run.returns) for run in episodes]
    said = (
        f"{len(episodes)} episodes, {sum(steps)} samples, {min(steps)} to {max(steps)} "
        f"steps each; returns {np.mean(total):.4g} ({min(total):.4g} to "
        f"{max(total):.4g})"
    )
    if all(run.success is not None for run in episodes):
        said += f"; {sum(bool(run.success) for run in episodes)} succeed"
    return said + "."


def _successes(episodes: list[Trajectory]) -> list[Trajectory]:
    if any(run.success is None for run in episodes):
        raise UsageError("--only-successes needs an environment that tells success")
    kept = [run for run in episodes if run.success]
    if not kept:
        raise UsageError("--only-successes: no episode succeeded")
    return kept
