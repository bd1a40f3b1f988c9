"""`roboopt collect`: record demonstrations in an environment."""

import contextlib
import dataclasses
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from roboopt._errors import RobooptError, require, require_at_least
from roboopt._progress import counted
from roboopt.cli._environment import (
    ENV_HELP,
    RAY_HELP,
    THIS_MACHINE,
    cluster,
    label,
    make,
    option_text,
)
from roboopt.cli._flags import flag
from roboopt.cli._resume import how_to_resume
from roboopt.cli._run_folder import PARTIAL, SETTINGS, held, partial, resumable
from roboopt.cli._simulation import Balancing

SUFFIXES = ("", ".npz", ".hdf5", ".h5")
DEMONSTRATOR_HELP = (
    "Policy that acts: a file of roboopt.save, the folder of a run, or a function."
)
NOISE_HELP = (
    "Standard deviation of noise on the executed actions, as a fraction of half their "
    "range; actions are recorded without it."
)
OUT_HELP = "Output: a file .npz or .hdf5, or, without suffix, a folder of .npy files."


@dataclass(frozen=True)
class Collect:
    """Record demonstrations in any Gymnasium environment, to be cloned.

    The demonstrator is one of the library's controllers for its environments, a saved
    policy, or a function of your own. A policy is also saved, in a file of its own that
    `roboopt clone --demonstrator` takes.
    """

    environment: str = flag(dataclasses.MISSING, ENV_HELP, shown="ENV", positional=True)
    demonstrator: str | None = flag(
        None,
        DEMONSTRATOR_HELP,
        "roboopt's controller of the task",
        shown="PATH|MODULE:NAME",
    )
    option: tuple[str, ...] = flag(
        (),
        "Keywords of the environment's constructor, such as robot=panda.",
        shown="KEY=VALUE",
    )
    episodes: int = flag(50, "Number of episodes.")
    seed: int = flag(0, "Seed of the starts and of the noise.")
    noise: float = flag(0.0, NOISE_HELP)
    max_steps: int | None = flag(
        None, "Time limit of an episode [steps].", "the environment's"
    )
    ray: str | None = flag(
        None, RAY_HELP, "no cluster", shown="ADDRESS", alone=THIS_MACHINE
    )
    only_successes: bool = flag(False, "Keep only the successful episodes.")
    out: Path | None = flag(None, OUT_HELP, "named after the environment")
    overwrite: bool = flag(False, "Replace an existing file.")
    resume: Path | None = flag(
        None,
        "Output of a recording that was interrupted or killed, to continue with its "
        "settings.",
        shown="OUT",
    )
    simulation: Balancing = Balancing()
    endings: ClassVar = ("episodes", "only_successes")

    def run(self) -> int:
        """Record, save and describe the episodes; return the exit code."""
        require_at_least(1, episodes=self.episodes)
        require(self.noise < float("inf"), "noise", "be finite", self.noise)
        out = self._out()
        if self.resume is None:
            _require_free(out, self.overwrite)
        from roboopt.cli._process import jax_settings

        with jax_settings(), _kept(out, self) as folder:
            self._record(out, folder)
        return 0

    def _out(self) -> Path:
        out = self.out or Path(f"{label(self.environment, self.option)}-demos.npz")
        if out.suffix not in SUFFIXES:
            raise RobooptError(
                f"--out must end in .npz or .hdf5, or have no suffix, got {out}"
            )
        if self.resume is not None:
            # Their place now, whatever folder the settings were relative to.
            folder = resumable(self.resume)
            out = folder.with_name(folder.name.removesuffix(PARTIAL))
        if not out.absolute().parent.is_dir():
            raise RobooptError(f"--out must lie in a folder, but {out.parent} is none")
        return out

    def _record(self, out: Path, folder: Path) -> None:
        import equinox as eqx

        import roboopt as ro
        from roboopt.cli._policies import demonstrator

        env = make(self.environment, self.option, self.simulation.options())
        expert, said = demonstrator(env, self.demonstrator)
        for name, text in ro.rollouts.robot_notes(env).items():
            print(f"{name}: {text}", file=sys.stderr)
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
                workers=cluster(self.ray),
                progress=lambda _: advance(),
                checkpoint=None if self.ray else folder,
            )
        found = ro.rollouts.Evaluation.of(recorded)
        print(_described(found))
        episodes = recorded.episodes()
        if self.only_successes:
            if found.successes is None:
                raise RobooptError(
                    "--only-successes needs an environment that tells success"
                )
            episodes = [episodes[k] for k in found.successes.nonzero()[0]]
            if not episodes:
                raise RobooptError("--only-successes: no episode succeeded")
        try:
            ro.data.save_episodes(out, episodes)
        except OSError as error:
            other = Path(tempfile.mkdtemp(prefix="roboopt-")) / out.name
            ro.data.save_episodes(other, episodes)
            raise RobooptError(
                f"the episodes could not be written to {out} ({error}); they are in "
                f"{other}"
            ) from error
        print(out)
        named = self.demonstrator
        if isinstance(expert, eqx.Module):
            named = out.with_name(f"{out.stem}-demonstrator.npz")
            ro.save(named, expert)
            print(named)
        words = ["roboopt", "clone", str(out), "--env", self.environment]
        given = self.simulation.options().items()
        options = [*self.option, *(option_text(name, value) for name, value in given)]
        words += ["--option", *options] if options else []
        words += ["--demonstrator", str(named)]
        print(f"To clone it: {shlex.join(words)}")


def _require_free(out: Path, overwrite: bool) -> None:
    """Refuse a recording in the place of another, unless that is to be replaced."""
    if overwrite:
        shutil.rmtree(partial(out), ignore_errors=True)
    elif out.exists():
        raise RobooptError(f"{out} exists: give another --out, or --overwrite")
    elif any(partial(out).glob("part-*.npz")):
        raise RobooptError(
            f"{partial(out)} holds episodes of a recording that goes on, or can be "
            f"resumed: give another --out, --resume {out}, or --overwrite"
        )


@contextlib.contextmanager
def _kept(out: Path, command: Collect) -> Iterator[Path]:
    """Yield the folder of the finished episodes, and remove it if all went well."""
    from roboopt.cli._run import flags_of
    from roboopt.data import write_json

    folder = partial(out)
    folder.mkdir(exist_ok=True)
    lock = held(folder)
    write_json(folder / SETTINGS, flags_of(command))
    try:
        yield folder
    except BaseException:
        if any(folder.glob("part-*.npz")):
            print(how_to_resume(command, str(out)), file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)
    # The settings last: killed on the way, the recording can still be resumed.
    for file in sorted(folder.iterdir(), key=lambda file: file.name == SETTINGS):
        file.unlink()
    folder.rmdir()


def _noise(env: Any, share: float) -> Any:
    """Return the standard deviation of the noise, in the actions' units."""
    import numpy as np

    space = env.action_space
    low, high = (np.asarray(getattr(space, n, np.nan)) for n in ("low", "high"))
    half = (high - low) / 2
    if half.ndim != 1 or not np.all(np.isfinite(half)):
        raise RobooptError(f"--noise needs actions with limits, got {space}")
    return share * half


def _described(found: Any) -> str:
    steps, total = found.lengths, found.returns
    said = (
        f"{counted(len(steps), 'episode')}, {steps.sum()} samples, {steps.min()} to "
        f"{steps.max()} steps each; returns {total.mean():.4g} ({total.min():.4g} to "
        f"{total.max():.4g})"
    )
    if found.successes is not None:
        said += f"; {found.successes.sum()} succeed"
    return said + "."
