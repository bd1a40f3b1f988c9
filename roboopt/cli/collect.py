"""`roboopt collect`: record demonstrations in an environment."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from roboopt._errors import RobooptError
from roboopt.cli._environment import label, make
from roboopt.cli._flags import flag
from roboopt.cli._usage import require_count, require_positive

SUFFIXES = ("", ".npz", ".hdf5", ".h5")


@dataclass(frozen=True)
class Collect:
    """Record demonstrations in any Gymnasium environment, to be cloned.

    The demonstrator is one of the library's controllers for its environments, a saved
    policy, or a function of your own. A policy is also saved, in a file of its own that
    `roboopt clone --demonstrator` takes.
    """

    environment: Annotated[
        str,
        tyro.conf.Positional,
        flag("ENV", "Gymnasium id, such as CartPole-v1 or my_package:Mine-v0."),
    ]
    demonstrator: Annotated[
        str | None,
        flag(
            "PATH|MODULE:NAME",
            "File of roboopt.save, folder of a run, or function of an observation.",
            "the library's own",
        ),
    ] = None
    option: Annotated[
        tuple[str, ...],
        flag("KEY=VALUE", "Keywords of the environment: robot=panda.", "none"),
    ] = ()
    episodes: Annotated[int, flag("INT", "Number of episodes.")] = 50
    seed: Annotated[int, flag("INT", "Seed of the starts and of the noise.")] = 0
    noise: Annotated[
        float,
        flag(
            "FLOAT",
            "Standard deviation of noise on the executed actions, as a share of half "
            "their range; the recorded actions have none.",
        ),
    ] = 0.0
    max_steps: Annotated[
        int | None,
        flag("INT", "Longest episode, in steps.", "the environment's"),
    ] = None
    only_successes: Annotated[
        bool, tyro.conf.arg(help="Recording of successful episodes only.")
    ] = False
    out: Annotated[
        Path | None,
        flag(
            "PATH",
            "File .npz or .hdf5, or, without suffix, a folder of memory-mapped arrays.",
            "after the environment",
        ),
    ] = None
    overwrite: Annotated[
        bool, tyro.conf.arg(help="Replacement of an existing file.")
    ] = False

    def run(self) -> int:
        """Record, save and describe the episodes; return the exit code."""
        out = self._checked_out()
        from roboopt.cli._process import jax_settings

        with jax_settings():
            self._record(out)
        return 0

    def _checked_out(self) -> Path:
        """Return the file to write, after checking the flags."""
        require_count("--episodes", self.episodes)
        require_count("--max-steps", self.max_steps)
        require_positive("--noise", self.noise, zero=True)
        if self.seed < 0:
            raise RobooptError(f"--seed must be 0 or more, got {self.seed}")
        out = self.out or Path(f"{label(self.environment, self.option)}-demos.npz")
        if out.suffix not in SUFFIXES:
            raise RobooptError(
                f"--out must end in .npz or .hdf5, or have no suffix, got {out}"
            )
        if out.exists() and not self.overwrite:
            raise RobooptError(f"{out} exists: give another --out, or --overwrite")
        if not out.absolute().parent.is_dir():
            raise RobooptError(f"--out must lie in a folder, but {out.parent} is none")
        return out

    def _record(self, out: Path) -> None:
        import equinox as eqx

        import roboopt as ro
        from roboopt.cli._demonstrators import demonstrator

        env = make(self.environment, self.option)
        expert, said = demonstrator(env, self.demonstrator)
        print(f"Recording {said}", file=sys.stderr)
        acting = expert
        if self.noise > 0:
            acting = ro.policies.ActionNoise(expert, _noise(env, self.noise))
        with ro.report.progress_bar("recording", self.episodes) as advance:
            recorded = ro.rollouts.collect(
                env,
                acting,
                episodes=self.episodes,
                seed=self.seed,
                label=None if acting is expert else expert,
                max_steps=self.max_steps,
                progress=lambda _: advance(),
            )
        episodes = recorded.episodes()
        print(_described(episodes))
        ro.data.save_episodes(
            out, _successes(episodes) if self.only_successes else episodes
        )
        print(out)
        named = self.demonstrator
        if isinstance(expert, eqx.Module):
            named = out.with_name(f"{out.stem}-demonstrator.npz")
            ro.save(named, expert)
            print(named)
        words = ["roboopt", "clone", str(out), "--env", self.environment]
        words += ["--option", *self.option] if self.option else []
        words += ["--demonstrator", str(named)]
        print(f"To clone it: {shlex.join(words)}")


def _noise(env: Any, share: float) -> Any:
    """Return the standard deviation of the noise, in the actions' units."""
    import numpy as np

    space = env.action_space
    low, high = (np.asarray(getattr(space, n, np.nan)) for n in ("low", "high"))
    half = (high - low) / 2
    if half.ndim != 1 or not np.all(np.isfinite(half)):
        raise RobooptError(f"--noise needs actions with limits, got {space}")
    return share * half


def _described(episodes: list[Any]) -> str:
    steps = [run.steps for run in episodes]
    total = [float(run.returns) for run in episodes]
    said = (
        f"{len(episodes)} episodes, {sum(steps)} samples, {min(steps)} to {max(steps)} "
        f"steps each; returns {sum(total) / len(total):.4g} ({min(total):.4g} to "
        f"{max(total):.4g})"
    )
    if all(run.success is not None for run in episodes):
        said += f"; {sum(bool(run.success) for run in episodes)} succeed"
    return said + "."


def _successes(episodes: list[Any]) -> list[Any]:
    if any(run.success is None for run in episodes):
        raise RobooptError("--only-successes needs an environment that tells success")
    kept = [run for run in episodes if run.success]
    if not kept:
        raise RobooptError("--only-successes: no episode succeeded")
    return kept
