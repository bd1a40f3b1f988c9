"""Runs of verbs in processes that may be killed: a program, and its client.

Importing JAX and PyBullet takes longer than the runs. So one process imports them, and
forks another for each run, before JAX has started any thread. Checkpoints are written
after every chunk of steps.
"""

import contextlib
import functools
import gc
import os
import selectors
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from failing_disk import KILLED, Disk

FACTOR = 1.0  # of the time of an uninterrupted run, within which runs are killed


class Server:
    """The process that forks."""

    def __init__(self, library: Path | None = None):
        """Begin; with the `library` of `failing_disk`, calls on files are counted."""
        self._process = subprocess.Popen(
            [sys.executable, "-u", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **({"LD_PRELOAD": str(library)} if library else {})},
        )
        assert self._read() == "begun"

    def run(
        self, case: str, folder: Path, seconds: float = 600.0, call: int | None = None
    ) -> int | None:
        """Run a case of `CASES` in `folder`; return the exit code, None if killed.

        Args:
            case: its name.
            folder: the working folder, in which `log` receives the output.
            seconds: the time after which the process is killed.
            call: the number of the call on files that kills the process; with 0 their
                number is written to `folder`.calls.
        """
        assert self._process.stdin is not None
        call = -1 if call is None else call
        print(case, folder, call, file=self._process.stdin, flush=True)
        pid = int(self._read())
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)  # type: ignore
            if not selector.select(seconds):
                with contextlib.suppress(ProcessLookupError):  # It has just ended.
                    os.kill(pid, signal.SIGKILL)
        code = int(self._read())
        return None if code == -signal.SIGKILL else code

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def killed(server: Server, case: str, folder: Path, random, kills: int) -> dict:
    """Kill a run several times at random moments, and let it end.

    Args:
        server: forks the runs.
        case: its name.
        folder: made here.
        random: the source of the moments.
        kills: their number.

    Returns:
        The number of kills, and of resumptions from a checkpoint, on the way.
    """
    whole = folder / "whole"
    given(case, whole)
    began = time.perf_counter()
    assert server.run(case, whole) == 0, (whole / "log").read_text()
    seconds, expected = time.perf_counter() - began, outcome(case, whole)
    done = continued = number = 0
    while done < kills:
        number += 1
        assert number <= 3 * kills + 3, f"{case} ends before it is killed"
        place = folder / f"killed-{number}"
        given(case, place)
        while True:
            moment = random.uniform(0.0, FACTOR * seconds)
            began = time.perf_counter()
            code = server.run(case, place, moment if done < kills else 600.0)
            assert code in (None, 0), (place / "log").read_text()
            continued += "resumed" in (place / "log").read_text().splitlines()[-50:]
            if code == 0:
                # The machine may have been busy before.
                seconds = min(seconds, time.perf_counter() - began)
                break
            done += 1
        same(outcome(case, place), expected)
        assert not [p for p in place.rglob("*.partial") if any(p.iterdir())]
        assert not [p for p in place.rglob(".*.*") if p.suffix[1:].isdigit()]
    return {"kills": done, "resumed": continued}


def killed_by_calls(server: Server, case: str, folder: Path, random, kills: int) -> int:
    """Kill a run at calls on files, and let each end; return the number of calls.

    Args:
        server: forks the runs, with the library of `failing_disk`.
        case: its name.
        folder: made here.
        random: the source of the calls.
        kills: their number.
    """
    whole = folder / "whole"
    given(case, whole)
    assert server.run(case, whole, call=0) == 0, (whole / "log").read_text()
    expected = outcome(case, whole)
    calls = int(Path(f"{whole}.calls").read_text())
    for call in sorted(random.sample(range(1, calls + 1), min(kills, calls))):
        place = folder / f"killed-{call}"
        given(case, place)
        code = server.run(case, place, call=call)
        # The log and checkpoints of time alone make their number differ a little.
        assert code is None or code == 0, (place / "log").read_text()
        assert server.run(case, place) == 0, (place / "log").read_text()
        same(outcome(case, place), expected)
        assert not [p for p in place.rglob("*.partial") if any(p.iterdir())]
    return calls


def same(found: dict, expected: dict) -> None:
    """Compare to the bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def outcome(case: str, folder: Path) -> dict:
    """Return all numbers that a case has found, but times."""
    import equinox as eqx
    import jax

    import roboopt as ro

    if case in PYTHON:
        with np.load(folder / "found.npz") as file:
            return dict(file)
    if case == "collect":
        with np.load(folder / "demos.npz") as file:
            return dict(file)
    found = ro.load(folder / "runs" / case)
    parts = {
        "clone": lambda: (found.policy, found.training.history, found.mismatch),
        "identify": lambda: (
            found.model.values(),
            found.result.history,
            found.identifiability,
        ),
        "reinforce": lambda: (found.policy, found.evaluation.returns),
    }[case]()
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(parts, eqx.is_array_like))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def minimize(checkpoint):
    import jax.numpy as jnp

    import roboopt as ro

    def loss(model, batch):
        return ((batch - model[None]) ** 2).mean() + 0.1 * (model**4).sum()

    data = np.random.default_rng(0).normal(size=(64, 3))
    found = ro.minimize(
        loss, jnp.ones(3), data, steps=20_000, batch_size=8, checkpoint=checkpoint
    )
    return {"model": found.model, **found.history, **found.first_gradient}


def least_squares(checkpoint):
    import jax.numpy as jnp

    import roboopt as ro
    from roboopt.objectives import ResidualObjective

    class Valley(ResidualObjective):
        def residuals(self, model, batch):
            bend = 100 * (model[1:] - model[:-1] ** 2)
            return jnp.concatenate([bend, 1 - model, batch * (model - 3)])

    found = ro.least_squares(
        Valley(), jnp.full(20, -1.5), np.full(20, 0.1), checkpoint=checkpoint
    )
    return {"model": found.model, **found.history, "reason": found.reason}


def tune(checkpoint):
    import jax

    import roboopt as ro

    found = ro.tune(
        "cart-pole", steps=6, duration=0.2, starts=2, episodes=1, checkpoint=checkpoint
    )
    leaves = enumerate(jax.tree.leaves((found.controller, found.motions)))
    leaves = {str(k): x for k, x in leaves if hasattr(x, "shape")}
    return {**leaves, **found.result.history, **found.result.first_gradient}


def dagger(checkpoint):
    import jax
    import jax.numpy as jnp
    from roboopt_envs.cart_pole import CartPoleBalance

    import roboopt as ro

    def expert(observation):
        return np.array([2.0, 40.0, 4.0, 10.0]) @ np.asarray(observation)[None].T

    env = CartPoleBalance(duration=0.3)
    shown = ro.rollouts.collect(env, expert, episodes=3, seed=0).episodes()
    found = ro.clone(
        shown, env, demonstrator=expert, dagger=2, steps=90, width=4, depth=1,
        episodes=2, max_steps=20, checkpoint=checkpoint,
    )  # fmt: skip
    leaves = jax.tree.leaves(found.training.model)
    leaves = {str(k): x for k, x in enumerate(leaves) if hasattr(x, "shape")}
    return {**leaves, **found.training.history, "end": jnp.asarray(found.training.loss)}


def given(case: str, folder: Path) -> None:
    """Make the folder of a run with the files that it reads."""
    folder.mkdir(parents=True)
    if case == "collect":
        (folder / "expert.py").write_text(DEMONSTRATOR)
    if case == "clone":
        random = np.random.default_rng(0)
        seen = random.normal(size=(41, 3))
        acted = np.tanh(seen[:-1] @ random.normal(size=(3, 2)))
        np.savez(folder / "demos.npz", observations=seen, actions=acted, time_step=0.1)
    if case == "identify":
        recording_of_an_arm().save(folder / "arm.npz")


@functools.cache
def recording_of_an_arm():
    """Return the motion of the two-link arm under slow sines of efforts."""
    from roboopt_envs.arm import ArmReach

    import roboopt as ro

    times = np.arange(360)[:, None] / 240
    efforts = np.sin(times * [5.0, 9.0] + [0.0, 1.0]) * [2.0, 0.4]
    env = ArmReach()
    state = [-1.5, 0.2, 0.0, 0.0, -1.5, 0.2]
    seen, _ = env.reset(seed=0, options={"start": np.array(state)})
    states = [seen[:4]]
    for effort in efforts:
        seen, *_ = env.step(effort.astype(env.action_space.dtype))
        states.append(seen[:4])
    env.close()
    return ro.Trajectory(np.array(states), efforts, 1 / 240)


COMMANDS = {
    "identify": "arm.npz --env arm --free mass damping --held-out 0",
    "clone": "demos.npz --steps 1500 --width 8 --depth 1",
    "reinforce": "Pendulum-v1 --algorithm zeroth-order --envs 2 --timesteps 4000 "
    "--max-steps 25 --width 4 --depth 1 --episodes 2",
}
PYTHON = {f.__name__: f for f in (minimize, least_squares, tune, dagger)}
DEMONSTRATOR = "def act(o):\n    return int(o[2] + 0.5 * o[3] + 0.1 * o[1] > 0)\n"
WHO = "--demonstrator expert:act"
RECORDING = "CartPole-v1 --episodes 12 --out demos.npz"


def command_line(case: str) -> list[str]:
    """Return the words of a command that begins a run, or goes on with it."""
    if case == "collect":
        left = Path("demos.npz.partial", "settings.json").exists()
        if Path("demos.npz").exists() and not left:
            return []  # It was killed after its end.
        words = f"--resume demos.npz {WHO}" if left else f"{RECORDING} {WHO}"
        return ["collect", *words.split()]
    run = Path("runs", case)
    if any(Path(f"{run}{end}", "settings.json").exists() for end in ("", ".partial")):
        return [case, "--resume", str(run)]
    words = [*COMMANDS[case].split(), "--name", case, "--no-video"]
    return [case, *words]


def child(case: str, folder: str, call: int) -> int:
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from roboopt.optimize import _checkpoint
    from roboopt.rollouts import _parts

    _checkpoint.PERIOD_S = _parts.PERIOD_S = 0.0
    disk = None if call < 0 else Disk(Path(folder))
    if disk is not None:
        disk.choose(call, KILLED)
    code = run_here(case)
    if disk is not None and call == 0:
        disk.stop()
        Path(f"{folder}.calls").write_text(str(disk.calls))
    return code


def run_here(case: str) -> int:
    """Run a case in this process and folder; return the exit code."""
    from roboopt.cli import _run, main

    if case in PYTHON:
        if Path("state.npz").exists():
            print("resumed", flush=True)
        found = PYTHON[case]("state.npz")
        np.savez("half.npz", **found)
        os.replace("half.npz", "found.npz")
        return 0
    # Drawing takes longer than the runs, and has tests of its own.
    _run.write_report = lambda result, path, command, video: path.write_text("")  # type: ignore
    words = command_line(case)
    if "--resume" in words:
        print("resumed", flush=True)
    return main(words) if words else 0


def serve() -> None:
    gc.set_threshold(50_000)  # as the command does
    import jax

    jax.config.update("jax_enable_x64", True)

    import roboopt as ro
    import roboopt.cli._run
    from roboopt.cli._main import COMMANDS as ALL
    from roboopt.cli._main import _command_class

    for name in dir(ro):
        getattr(ro, name)
    for name in ALL:
        _command_class(name)
    assert not jax._src.xla_bridge._backends, "JAX has started threads"  # type: ignore
    print("begun", flush=True)
    for line in sys.stdin:
        case, folder, call = line.split()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = child(case, folder, int(call))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
