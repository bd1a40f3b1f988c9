"""One run of a command: claim a folder, call the verb, save, print, report."""

import contextlib
import dataclasses
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from roboopt_envs import import_pybullet_silently

from roboopt._errors import RobooptError
from roboopt._interrupt import cleaned_up, ending, exit_code, leaves, shielded
from roboopt._progress import say
from roboopt.cli._config import RECORDED
from roboopt.cli._flag_names import flags_named
from roboopt.cli._flags import Output, groups, verb_arguments
from roboopt.cli._process import jax_settings
from roboopt.cli._results import write_report
from roboopt.cli._resume import (
    COMPLETE,
    finished,
    how_to_evaluate,
    how_to_report,
    how_to_resume,
)
from roboopt.cli._run_folder import (
    CHECKPOINT,
    FIGURES,
    PICTURES,
    REPORT,
    SETTINGS,
    RunFolder,
    clear_beside,
)
from roboopt.data import save, write_json
from roboopt.loggers import LOGGERS, Logger
from roboopt.optimize import Log
from roboopt.report import VerbResult, check_formats, plain, write_index

PACKAGES = "roboopt jax jaxlib equinox optax numpy gymnasium pybullet".split()


def run(
    command: Any,
    name: str,
    verb: Callable[..., VerbResult],
    *,
    record: Mapping[str, Any] | None = None,
) -> int:
    """Run the verb of a command, and leave the folder of the run.

    A run writes into `runs/<name>.partial`, which is renamed when the run is over. If
    the verb fails, the folder is removed unless there is a checkpoint in it, and an
    earlier run of that name stays as it was. A result is saved before it is judged, and
    before it is reported: nothing that ends these takes the result away.

    Args:
        command: the parsed flags, with a field `output`.
        name: of the run's folder, where the user gives none.
        verb: runs the verb, given the folder for files that it writes on the way, and
            its keywords `log`, told of every step or None, and `keep`, which saves the
            result before it is judged.
        record: further entries of settings.json.

    Returns:
        0; or 130 or 143 if a signal came before the result was complete.
    """
    output = command.output
    check_formats((output.figures or "pdf").split(","), "figures")
    logs = _log_names(output.log)
    if output.resume is not None:
        if said := finished(command):
            print(said)
            clear_beside(output.resume)
            _index(output.resume)
            return 0
        folder = RunFolder.resume(output.resume)
    else:
        taken = output.runs, output.name, name
        folder = RunFolder.claim(*taken, overwrite=output.overwrite)
    import_pybullet_silently()
    kept: list[VerbResult] = []

    def keep(result: VerbResult) -> None:
        with shielded(), warnings.catch_warnings(action="ignore"):
            # A full disk is told at the end, when the whole result is saved.
            with contextlib.suppress(OSError, RobooptError):
                result.save(folder.work)
            kept[:] = [result]

    def discard() -> bool:
        if stays := folder.discard():
            leaves(f"what was learned so far is in {os.path.relpath(folder.work)}")
        else:
            runs = os.path.relpath(folder.path.parent)
            leaves(f"there was no result yet to keep, and {runs} is as it was")
        return stays

    with jax_settings():
        try:
            with cleaned_up(discard):
                # With these and a checkpoint, a run that is killed can be resumed.
                write_json(folder.work / SETTINGS, flags_of(command))
                with _loggers(logs, folder.work, command) as told:
                    try:
                        result = verb(folder.work, log=_teller(told), keep=keep)
                    except KeyboardInterrupt:
                        if not kept:
                            raise
                        result = kept[0]
                    with shielded():
                        _conclude(told, result)
        except BaseException:
            if discard():
                say(how_to_resume(command, os.path.relpath(folder.path)))
            raise
        leaves("")  # The result says so itself.
        with shielded():
            settings = _settings(command, result) | dict(record or {})
            try:
                _save(result, settings, folder.work)
            except (OSError, RobooptError) as error:
                print(result)
                if folder.leave():
                    print(how_to_resume(command, os.path.relpath(folder.path)))
                raise _saved_elsewhere(result, settings, folder.work, error) from error
        try:
            return _reported(command, result, folder)
        finally:
            with shielded():
                _publish(folder, command, result)


def _log_names(text: str | None) -> list[str]:
    """Return the loggers of `--log`, of which a text names several."""
    names = text.split(",") if text else []
    for unknown in set(names) - set(LOGGERS):
        raise RobooptError(f"`log` must be of {', '.join(LOGGERS)}, got {unknown!r}.")
    return names


@contextmanager
def _loggers(
    names: Sequence[str], folder: Path, command: Any
) -> Iterator[Sequence[Logger]]:
    """Yield loggers that know the settings, and write into the folder if they write."""
    logs: list[Logger] = []

    def interrupt() -> None:
        for log in logs:
            log.outcome = "interrupted"
            log.close()

    with cleaned_up(interrupt), ExitStack() as stack:
        for name in names:
            logs.append(stack.enter_context(LOGGERS[name].for_run(folder)))
            given = flags_of(command)
            logs[-1].settings({"command": given["command"], **given["flags"]})
        yield logs


def _teller(logs: Sequence[Logger]) -> Log | None:
    """Return a function that tells the loggers of a step; None where there are none."""

    def told(step: int, metrics: dict[str, float]) -> None:
        for log in logs:
            log(step, dict(metrics))

    return told if logs else None


def _conclude(logs: Sequence[Logger], result: VerbResult) -> None:
    """Tell the loggers what came out, and whether a signal ended the run."""
    for log in logs:
        log.result(result)
        if ending():
            log.outcome = "interrupted"


def _reported(command: Any, result: VerbResult, folder: RunFolder) -> int:
    """Print a result, and write its report; return the exit code."""
    summary = result.summary()
    said = [flags_named(sentence, command) for sentence in summary.sentences]
    print(dataclasses.replace(summary, sentences=said))
    if result.interrupted or ending():
        if (folder.work / CHECKPOINT).exists():
            path, learned = os.path.relpath(folder.path), _has_learned(result)
            print(how_to_resume(command, path, learned=learned))
            if said := how_to_evaluate(command, path, result):
                print(said)
        return exit_code()
    from roboopt.tuning import TuneResult

    if isinstance(result, TuneResult):  # The other verbs have explained it already.
        say("explaining the gradient")
        with contextlib.suppress(RobooptError):  # The report says what can be said.
            result.gradients()
    say("writing the report")
    try:
        if formats := command.output.figures:
            result.save_figures(folder.work / FIGURES, *formats.split(","))
        video = not command.output.no_video
        write_report(result, folder.work / REPORT, command, video=video)
        if getattr(result, "explained", None):  # by the report: once for all
            with warnings.catch_warnings(action="ignore"):
                save(folder.work / "result.npz", result, partly=True)
    except OSError as error:
        raise RobooptError(f"the report could not be written: {error}") from error
    return 0


def _index(run: Path) -> None:
    """List the runs beside a run; a disk that is full does not matter then."""
    with contextlib.suppress(OSError, RobooptError):
        write_index(run.resolve().parent)


def _publish(folder: RunFolder, command: Any, result: VerbResult) -> None:
    """Move the files of a run to their place, and say where they are."""
    whole = (folder.work / REPORT).exists()
    if not whole:
        shutil.rmtree(folder.work / FIGURES, ignore_errors=True)
    try:
        folder.publish()
    except OSError as error:
        folder.leave()
        raise RobooptError(
            f"the result could not be moved to {folder.path} ({error}); it is in "
            f"{folder.work}, or there already"
        ) from error
    _index(folder.path)
    said = folder.path / REPORT
    path = os.path.relpath(folder.path)
    print(said if whole else how_to_report(command, path, result))
    print(f'The result loads with: roboopt.load("{folder.path}")')
    if whole and getattr(command, "watch", None) is not None:
        print(f"Its page is over; roboopt view {folder.path} shows the robot again.")


def _save(result: VerbResult, settings: Mapping[str, Any], folder: Path) -> None:
    result.save(folder)
    write_json(folder / SETTINGS, settings)


def _saved_elsewhere(
    result: VerbResult, settings: Mapping[str, Any], folder: Path, reason: Exception
) -> RobooptError:
    """Save a result whose folder cannot be written; return the error that says so."""
    said = f"the result could not be written to {folder} ({reason})"
    try:
        other = Path(tempfile.mkdtemp(prefix="roboopt-"))
        _save(result, settings, other)
    except (OSError, RobooptError) as error:
        return RobooptError(f"{said}, nor to a temporary folder ({error})")
    return RobooptError(f"{said}; it is in {other}")


def flags_of(command: Any) -> dict[str, Any]:
    """Return the part of settings.json that `--config` reads."""
    given = verb_arguments(command)
    for name, kind in groups(command).items():
        group = vars(getattr(command, name))
        names = RECORDED if kind is Output else group
        given |= {name: group[name] for name in names}
    flags = {name.rstrip("_"): plain(value) for name, value in given.items()}
    return {"command": type(command).__name__.lower(), "flags": flags}


def _settings(command: Any, result: VerbResult) -> dict[str, Any]:
    """Return the flags, the verb's record, versions and the machine."""
    import jax

    return {
        **flags_of(command),
        **plain(result.record()),
        PICTURES: getattr(getattr(result, "env", None), "makes_pictures", True),
        COMPLETE: not (result.interrupted or ending()) and _is_complete(result),
        "versions": {
            **{name: _version(name) for name in PACKAGES},
            "python": platform.python_version(),
        },
        "platform": {
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "jax_backend": jax.default_backend(),
            "jax_enable_x64": bool(jax.config.jax_enable_x64),  # pyright: ignore
        },
    }


def _is_complete(result: VerbResult) -> bool:
    """Return whether neither time nor an evaluation that was asked for is missing."""
    return not getattr(result, "evaluation_failure", "") and _has_learned(result)


def _has_learned(result: VerbResult) -> bool:
    """Return whether no signal, time limit or source ended the descent."""
    parts = [result, *(getattr(result, name, None) for name in ("result", "training"))]
    ended = {getattr(part, "reason", None) for part in parts}
    return ended.isdisjoint(("seconds", "interrupted", "source"))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
