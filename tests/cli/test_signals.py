"""Signals: a command or a descent that is told to end does, and keeps what it has.

Processes of their own are really signalled. They begin with a word on stdout, since
until the interpreter and the command have begun no program can hear a signal.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kill_server import COMMANDS, RECORDING, WHO, given

from roboopt._interrupt import ending, interrupts
from roboopt.cli import main

# A shell's background job, and so its children, begin with SIGINT ignored.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from roboopt.cli import main

def tell(event, arguments):  # The command hears signals before it imports the rest.
    if event == "import" and arguments[0] == "roboopt.cli._main":
        print("begun", flush=True)

sys.addaudithook(tell)
sys.exit(main())
"""
DESCENT = """
import signal, sys, time
import jax, jax.numpy as jnp
from roboopt import minimize

def slow(model, batch):
    for _ in range(int(sys.argv[1])):
        model = jnp.sin(model @ batch) + model
    return jnp.sum(model**2)

signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
try:
    found = minimize(slow, jnp.ones((8, 8)), jnp.eye(8), steps=10**8, tolerance=0.0)
    print(found.reason, found.steps, flush=True)
except KeyboardInterrupt:
    print("interrupted 0", flush=True)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
time.sleep(0.2)  # nothing may come late
print("as before", flush=True)
"""
LOGGED = """
import signal
import jax.numpy as jnp
from roboopt import minimize

def flat(model, batch):
    return jnp.sum(model**4)

def log(step, metrics):
    told.append(metrics["loss"])
    if step == 2000:  # In the steps of a tenth of a second, and most of all such.
        print("begun", flush=True)

told = []
signal.signal(signal.SIGINT, signal.default_int_handler)
settings = {"tolerance": 0.0, "patience": 10**8, "log": log}
found = minimize(flat, jnp.full(64, 1e3), None, steps=10**8, **settings)
print(found.reason, found.steps > 2000, told == found.history["loss"].tolist())
"""
ENDLESS = "--timesteps", "100000000", "--width", "8", "--depth", "1"
LEARNING = "reinforce", "CartPole-v1", "--no-video", *ENDLESS
TUNING = "tune", "cart-pole", "--no-video", "--episodes", "2", "--duration", "0.5"
READING = "clone", "identify"
SIGNALS = signal.SIGINT, signal.SIGTERM
LONGEST_S = 15.0  # to the end, on a machine that runs other tests; 2 s on an idle one


@pytest.fixture
def begun(tmp_path):
    """Return a function that starts a program, and waits for its first word."""
    processes = []

    def start(program, *arguments, folder=tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process, number):
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - began < LONGEST_S
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err and "Fatal" not in err
    return out, err


@pytest.mark.parametrize("seconds, number", [(0.0, 2), (0.5, 15), (2.0, 2)])
def test_a_command_leaves_a_run_only_if_it_has_something_to_keep(
    begun, tmp_path, seconds, number
):
    process = begun(COMMAND, *LEARNING)
    time.sleep(seconds)
    out, err = ended(process, number)
    runs = tmp_path / "runs"
    folders = [x for x in runs.iterdir() if x.is_dir()] if runs.exists() else []
    if "interrupted after" in out:  # Compiled programs were at hand: it had learned.
        assert [(x / "checkpoint.npz").is_file() for x in folders] == [True]
    else:
        assert not folders and not runs.exists()
        said = (
            "no file is written\n",
            "no result yet to keep, and runs is as it was\n",
        )
        assert err.splitlines()[-1].startswith("roboopt: interrupted: ")
        assert err.endswith(said)


@pytest.mark.slow
def test_a_command_that_learns_keeps_its_policy(begun, tmp_path):
    import roboopt as ro

    process = begun(COMMAND, *LEARNING)
    for line in process.stderr:
        if "timesteps, " in line and " 0 of" not in line:
            break
    out, _ = ended(process, signal.SIGTERM)
    assert "interrupted after" in out
    (folder,) = (x for x in (tmp_path / "runs").iterdir() if x.is_dir())
    assert ro.load(folder).timesteps > 0 and (folder / "checkpoint.npz").is_file()


def test_a_second_signal_ends_a_command_at_once(begun):
    process = begun(COMMAND, *LEARNING)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode in (130, 143) and "Traceback" not in err


def test_a_report_that_was_interrupted_is_written_by_a_command(begun, tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "obs": rng.normal(size=(4, 9, 2)),
        "acts": rng.normal(size=(4, 8, 1)),
    }
    np.savez(tmp_path / "demos.npz", **arrays, dt=0.1)
    words = "clone", "demos.npz", "--policy", "linear", "--steps", "2"
    process = begun(COMMAND, *words, "--figures", "csv")
    for line in process.stderr:
        if "writing the report" in line:
            break
    process.send_signal(signal.SIGINT)  # `timeout` signals a process, and its group
    out, err = ended(process, signal.SIGINT)
    run = tmp_path / "runs" / "clone"
    line = (
        "There is no report yet. To write it: roboopt report runs/clone --figures csv"
    )
    assert line in out and err.endswith("roboopt: interrupted\n")
    left = {file.name for file in run.iterdir()}
    assert "result.npz" in left and not {"report.html", "figures"} & left
    assert main(["report", str(run), "--figures", "csv"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert "</html>" in (run / "report.html").read_text("utf-8")
    assert [*(run / "figures").glob("*.csv")]
    files = json.loads((run / "settings.json").read_text())["files"]
    assert {"report.html", "figures"} <= {*files}
    assert "clone/report.html" in (run.parent / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    "size, seconds",
    [(2, 1.5), (75, 1.5), pytest.param(300, 3.0, marks=pytest.mark.slow)],
)
def test_a_descent_ends_whether_it_compiles_or_steps(begun, size, seconds):
    process = begun(DESCENT, str(size))
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith("interrupted") and out.endswith("as before\n")


@pytest.mark.parametrize("seconds", [0.0, 0.33])
def test_a_log_has_every_step_of_a_descent_that_is_interrupted(begun, seconds):
    process = begun(LOGGED)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out == "interrupted True True\n"


def test_a_background_job_hears_the_signal_that_it_does_not_ignore():
    before, told = signal.signal(signal.SIGINT, signal.SIG_IGN), True
    try:
        with pytest.raises(KeyboardInterrupt), interrupts(command=True):
            os.kill(os.getpid(), signal.SIGINT)
            told = ending()
            os.kill(os.getpid(), signal.SIGTERM)
        assert not told and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


VERBS = {
    "collect": (("collect", *RECORDING.split(), *WHO.split()), 1.8),
    **{name: ((name, *COMMANDS[name].split(), "--no-video"), 8.0) for name in READING},
    "reinforce": (LEARNING, 20.0),
    "tune": (TUNING, 25.0),
}
"""Words of a command, and seconds of the processor within which it is interrupted."""
MAX_LATE_S = 2.0  # of the processor, after the end of what XLA computes
COMPILATION_S = 3.0  # of the longest program, on this kind of machine
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(process):
    """Return what a process has taken so far; infinite once it has ended."""
    try:
        words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return float("inf")
    zombie = words[0] == "Z"
    return float("inf") if zombie else (int(words[11]) + int(words[12])) / TICKS


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it is read in /proc")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("verb", VERBS)
def test_a_command_ends_at_any_moment(begun, tmp_path, verb, seed):
    import roboopt as ro

    words, longest = VERBS[verb]
    here = tmp_path / "here"
    given(verb, here)
    chance = random.Random(f"{verb} {seed}")
    moment, number = chance.uniform(0.0, longest), chance.choice(SIGNALS)
    process = begun(COMMAND, *words, folder=here)
    while processor_seconds(process) < moment:
        time.sleep(0.01)
    before = processor_seconds(process)
    process.send_signal(number)
    late = 0.0
    while (now := processor_seconds(process)) < float("inf"):
        late = now - before
        time.sleep(0.01)
    out, err = process.communicate(timeout=120)
    print(f"{verb}, {moment:.1f} s, {number}: {process.returncode}, {late:.2f} s later")
    # It may have ended, or be about to: the system's handlers end it then.
    assert process.returncode in (0, 128 + number, -number), err
    assert "Traceback" not in err and "Fatal" not in err, err
    assert late < MAX_LATE_S + COMPILATION_S
    for run in (here / "runs").glob("*/"):  # index.html is no run
        if (run / "result.npz").exists():
            ro.load(run)
        else:
            assert (run / "checkpoint.npz").exists(), f"{run} is left: {out}{err}"


KEPT = {
    "clone": (("clone", *COMMANDS["clone"].split()), "policy.npz"),
    "identify": (("identify", *COMMANDS["identify"].split()), "model.npz"),
    "reinforce": (("reinforce", *COMMANDS["reinforce"].split()), "policy.npz"),
    "tune": ((*TUNING, "--steps", "3"), "controller.npz"),
}
"""Words of a command, and the file of what it has learned."""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("verb", KEPT)
def test_a_signal_after_the_last_step_leaves_what_was_learned(
    begun, tmp_path, verb, seconds
):
    import roboopt as ro

    words, name = KEPT[verb]
    here = tmp_path / "here"
    given(verb, here)
    process = begun(COMMAND, *words, folder=here)
    # The state is written at the end of a descent, or of the first of several.
    while process.poll() is None and not [*here.glob("runs/*.partial/checkpoint.npz")]:
        time.sleep(0.01)
    time.sleep(seconds)
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 143, -15), err
    assert "Traceback" not in err and "Fatal" not in err, err
    files = [*here.glob(f"runs/*/{name}")]
    assert [x.parent.suffix for x in files] == [""], out + err
    (file,) = files
    assert ro.load(file) is not None and ro.load(file.parent).summary()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_fit_that_is_interrupted_before_it_is_whole_says_what_is_left(
    begun, tmp_path, number
):
    here = tmp_path / "here"
    given("identify", here)
    words = "identify", *COMMANDS["identify"].split(), "--no-video"
    before = {*here.rglob("*")}
    process = begun(COMMAND, *words, folder=here)
    for line in process.stderr:
        if line.startswith("fitting"):
            break
    out, err = ended(process, number)
    if "The result loads with" not in out:  # The fit was not whole yet.
        assert "interrupted: there was no result yet to keep, and runs is as" in err
        assert {*here.rglob("*")} == before


@pytest.mark.parametrize("signalled", [True, False])
def test_a_signal_that_python_wraps_is_one(monkeypatch, capsys, signalled):
    # As Python 3.11 does with what is raised while a class names its attributes.
    def execute(words):
        try:
            if signalled:
                signal.raise_signal(signal.SIGINT)
            raise ValueError("another fault")
        except (KeyboardInterrupt, ValueError) as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr("roboopt.cli._main.execute", execute)
    if signalled:
        assert main([]) == 130
        assert "interrupted" in capsys.readouterr().err
    else:
        with pytest.raises(RuntimeError, match="__set_name__"):
            main([])
