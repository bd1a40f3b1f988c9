"""Save, descend and run commands on a disk that fails at every call in turn.

    LD_PRELOAD=failing_disk.so python failing_disk.py FOLDER LIMIT CASE...

For each case and each way to fail, one line of JSON: how many calls on files there are,
and what must not happen. A call fails once, or all fail from it on, which leaves the
files as a killed process does. Of more calls than LIMIT some, evenly spread, fail.
"""

import contextlib
import ctypes
import errno
import gc
import io
import json
import shutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".c")
ONCE, FROM_THEN_ON, KILLED = range(3)
ERRORS = errno.ENOSPC, errno.EIO, errno.EROFS
NO_COMPILER = "there is no C compiler `cc`, which makes the disk that fails"


def library(folder: Path) -> Path | None:
    """Compile the library to be preloaded; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    made = folder / "failing_disk.so"
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl"]
    subprocess.run(words, check=True)
    return made


class Disk:
    """The calls on files below a folder, in a process with the library."""

    def __init__(self, folder: Path):
        self._folder = str(folder).encode()
        self._library = ctypes.CDLL(None)
        self._library.disk_failed.restype = ctypes.c_char_p

    def choose(self, call: int, mode: int) -> None:
        """Let the call of this number fail, from now on counted; 0 for none."""
        self._library.disk_fails(self._folder, call, mode, ERRORS[call % len(ERRORS)])

    @property
    def calls(self) -> int:
        return self._library.disk_calls()

    @property
    def failed(self) -> str:
        """The call that failed, and its file; empty if none did."""
        return self._library.disk_failed().decode()

    def stop(self) -> None:
        """Let no more calls fail, or be counted."""
        self._library.disk_works()


class Case:
    """Something that writes files.

    Attributes:
        begin: makes what is there before.
        act: writes, and returns what it found; a failure is a `RobooptError` or an
            `OSError` that is about the disk.
        check: raises an AssertionError unless the files are complete, given what `act`
            found, or None where it failed.
    """

    def __init__(
        self,
        begin: Callable[[Path], object],
        act: Callable[[Path], Any],
        check: Callable[[Path, Any], object],
    ):
        self.begin, self.act, self.check = begin, act, check


def digest(tree: Any) -> str:
    from roboopt._digest import digest

    return digest(tree)


def saved(name: str, write: Callable, read: Callable, values: list) -> Case:
    """Return the case of a file that is replaced: it is the old or the new one."""
    forms = []

    def begin(folder: Path) -> None:
        write(folder / name, values[0])
        forms[:] = forms or [digest(values[0]), digest(values[1])]

    def act(folder: Path) -> bool:
        write(folder / name, values[1])
        return True

    def check(folder: Path, found: Any) -> None:
        former = [*folder.glob(f".{name}.*.former")]
        if not (folder / name).exists() and former:  # between two renamings
            assert digest(read(former[0])) == forms[0]
        else:
            form = digest(read(folder / name))
            assert form in (forms[1:] if found else forms), "neither old nor new"
        write(folder / name, values[1])
        assert digest(read(folder / name)) == forms[1]
        left = [path.name for path in folder.iterdir()]
        assert left == [name], f"left over: {left}"

    return Case(begin, act, check)


def saved_tree() -> Case:
    import numpy as np

    import roboopt as ro

    trees = [{"a": np.arange(9.0) + k, "b": [k, "text"]} for k in range(2)]
    return saved("tree.npz", ro.save, ro.load, trees)


def saved_episodes(name: str) -> Case:
    import numpy as np

    import roboopt as ro

    def arrays(runs: Any) -> list:
        return [[np.array(x) for x in (r.observations, r.actions)] for r in runs]

    def read(path: Path) -> list:
        return arrays(ro.data.load_episodes(path))

    def write(path: Path, values: Any) -> None:
        runs = [ro.Trajectory(seen, acted, 0.1) for seen, acted in values]
        ro.data.save_episodes(path, runs)

    random = np.random.default_rng(0)
    sizes = (5, 7)
    values = [
        [[random.normal(size=(n + 1, 3)), random.normal(size=(n, 2))] for n in sizes]
        for _ in range(2)
    ]
    return saved(name, write, read, values)


def descents(act: Callable[[Path], Any]) -> Case:
    """Return the case of a run that writes checkpoints, and goes on from them."""
    whole = []

    def begin(folder: Path) -> None:
        if not whole:
            own = folder / "whole"
            own.mkdir()
            whole.append(act(own))
            shutil.rmtree(own)

    def check(folder: Path, found: Any) -> None:
        assert found is None or found == whole[0], "another result"
        assert act(folder) == whole[0], "resumed to another result"
        left = [path.name for path in folder.rglob(".*")]
        assert not left, f"left over: {left}"

    return Case(begin, act, check)


def minimize() -> Case:
    import jax.numpy as jnp
    import numpy as np

    import roboopt as ro

    data = np.random.default_rng(0).normal(size=(16, 3))

    def loss(model: Any, batch: Any) -> Any:
        return ((batch - model[None]) ** 2).mean() + 0.1 * (model**4).sum()

    def act(folder: Path) -> str:
        found = ro.minimize(
            loss, jnp.ones(3), data, steps=9, batch_size=4,
            checkpoint=folder / "run.npz", progress=False,
        )  # fmt: skip
        return digest((found.model, found.history["loss"], found.reason))

    return descents(act)


def least_squares() -> Case:
    import jax.numpy as jnp
    import numpy as np

    import roboopt as ro
    from roboopt.objectives import ResidualObjective

    class Valley(ResidualObjective):
        def residuals(self, model: Any, batch: Any) -> Any:
            bend = 100 * (model[1:] - model[:-1] ** 2)
            return jnp.concatenate([bend, 1 - model, batch * (model - 3)])

    objective = Valley()

    def act(folder: Path) -> str:
        found = ro.least_squares(
            objective, jnp.full(4, -1.5), np.full(4, 0.1), steps=4,
            checkpoint=folder / "run.npz", progress=False,
        )  # fmt: skip
        return digest((found.model, found.history["loss"], found.reason))

    return descents(act)


def collect() -> Case:
    import roboopt as ro

    def expert(observation: Any) -> int:
        return int(observation[2] + 0.5 * observation[3] > 0)

    def act(folder: Path) -> str:
        found = ro.rollouts.collect(
            "CartPole-v1", expert, episodes=4, seed=0, max_steps=20,
            checkpoint=folder / "parts",
        )  # fmt: skip
        return digest((found.observations, found.actions))

    return descents(act)


def command() -> Case:
    """Return the case of a command with a result, begun or resumed over another."""
    import jax.numpy as jnp
    import numpy as np

    import roboopt as ro
    from roboopt.cli import _run, main
    from roboopt.cli import tune as module
    from roboopt.report import write_report

    data = np.random.default_rng(0).normal(size=(40, 3))
    shown = ro.Trajectory(data, np.tanh(data[:-1, :2]), 0.1)
    result = ro.clone(shown, steps=5, width=4, depth=1, progress=False)
    form = digest(result.policy)

    def loss(model: Any, _: Any) -> Any:
        return (model**2).sum()

    def verb(folder: Path) -> Any:
        ro.minimize(
            loss, jnp.ones(2), None, steps=2,
            checkpoint=folder / "checkpoint.npz", progress=False,
        )  # fmt: skip
        return result

    def page(result: Any, path: Any, command: Any, video: bool) -> None:
        write_report(path, title="", verdict=(), sections=())

    def run(self: Any) -> int:
        return _run.run(self, "mine", lambda folder, **_: verb(folder))

    _run.write_report = page  # Drawing takes longer than all others.
    module.Tune.run = run

    def execute(folder: Path, *flags: str) -> tuple[int, str]:
        runs = ["--runs", str(folder), "--no-video"]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = main(["tune", "cart-pole", *(flags or [*runs, "--name", "mine"])])
        return code, said.getvalue()

    def act(folder: Path) -> tuple[int, str]:
        return execute(folder, "--runs", str(folder), "--name", "mine", "--overwrite")

    def begin(folder: Path) -> None:
        before = folder.with_name("before")
        if not before.exists():
            assert act(folder)[0] == 0
            shutil.copytree(folder, before)
        shutil.copytree(before, folder, dirs_exist_ok=True)

    def check(folder: Path, found: Any) -> None:
        assert found is not None, "ended with a traceback"
        code, said = found
        assert code in (0, 2), f"ended with {code}"
        assert "Traceback" not in said, said
        places = [folder / "mine", folder / "mine.partial"]
        places += [Path(word.rstrip(".);")) for word in said.split()]
        kept = [p for p in places if (p / "result.npz").is_file()]
        assert kept and digest(ro.load(kept[0]).policy) == form, f"lost: {said}"
        for place in kept:
            if "roboopt-" in place.name:
                shutil.rmtree(place)
        again = execute(folder, "--resume", str(folder / "mine"))
        assert again[0] == 0, f"{said}\nresumed: {again[1]}"
        left = sorted(path.name for path in folder.iterdir())
        left = [name for name in left if name != "index.html"]
        assert left == ["mine"], f"left over: {left}\n{said}"
        assert digest(ro.load(folder / "mine").policy) == form
        assert not [*(folder / "mine").glob(".*")]

    return Case(begin, act, check)


CASES: dict[str, Callable[[], Case]] = {
    "tree": saved_tree,
    "episodes.npz": lambda: saved_episodes("x.npz"),
    "episodes.hdf5": lambda: saved_episodes("x.hdf5"),
    "episodes folder": lambda: saved_episodes("x"),
    "minimize": minimize,
    "least_squares": least_squares,
    "collect": collect,
    "command": command,
}


def of_the_disk(error: BaseException) -> bool:
    """Return whether an error says that a file could not be read or written."""
    from roboopt import RobooptError

    if isinstance(error, RobooptError):
        return True
    return isinstance(error, OSError) and error.errno in ERRORS


def fault(case: Case, folder: Path, disk: Disk, call: int, mode: int) -> str:
    """Let a call fail; return what is wrong afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    case.begin(folder)
    found = None
    try:
        disk.choose(call, mode)
        found = case.act(folder)
    except Exception as error:
        if not of_the_disk(error):
            return traceback.format_exc(limit=-4)
    finally:
        disk.stop()
    try:
        case.check(folder, found)
    except Exception:
        return traceback.format_exc(limit=-3)
    return ""


def faults(name: str, case: Case, folder: Path, mode: int, limit: int) -> dict:
    """Let each call of a case fail in turn; return what went wrong."""
    disk, bad = Disk(folder), []
    wrong, total = fault(case, folder, disk, 0, mode), disk.calls
    calls = range(1 + mode, total + 1, -(-total // limit)) if not wrong else []
    failed = 0
    for call in calls:
        wrong = fault(case, folder, disk, call, mode)
        failed += bool(disk.failed)
        if wrong:
            bad.append(f"call {call}, {disk.failed or 'none failed'}: {wrong}")
        elif not disk.failed and disk.calls >= call:  # A faster run has fewer.
            bad.append(f"call {call} of {disk.calls} did not fail")
    found = {"case": name, "mode": mode, "calls": total, "failed": failed}
    return {**found, "bad": [wrong] if not calls else bad}


def main() -> None:
    gc.set_threshold(50_000)  # as the command does
    import jax

    from roboopt.optimize import _checkpoint
    from roboopt.rollouts import _parts

    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    _checkpoint.PERIOD_S = _parts.PERIOD_S = 0.0
    folder, limit, *names = sys.argv[1:]
    for name in names:
        case = CASES[name]()  # It has compiled for the second mode.
        for mode in (ONCE, FROM_THEN_ON):
            found = faults(name, case, Path(folder, "work"), mode, int(limit))
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
