"""`log=`: what a descent tells of its steps, and the loggers that keep it."""

import contextlib
import importlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.cli import main
from roboopt.loggers import LOGGERS, JSONLines, Logger, TensorBoard
from roboopt.objectives import ResidualObjective
from roboopt.optimize import OneLog
from roboopt.policies import LinearFeedback

RECORDINGS = Path(__file__).parents[1] / "cases" / "demonstrations"
TARGET = jnp.array([1.0, -2.0])


class Told:
    """What was told."""

    def __init__(self):
        self.rows: list[tuple[int, dict[str, float]]] = []

    def __call__(self, step, metrics):
        self.rows.append((step, metrics))

    @property
    def steps(self):
        return [step for step, _ in self.rows]

    def column(self, name):
        return [metrics[name] for _, metrics in self.rows]


def valley(model, batch):
    return jnp.sum((model - batch) ** 2)


class Line(ResidualObjective):
    """The same with residuals, as least squares take it."""

    def residuals(self, model, batch):
        return model - batch


def samples(seed, steps=40):
    """Return an episode of a linear demonstrator."""
    seen = np.random.default_rng(seed).normal(size=(steps + 1, 2))
    return ro.Trajectory(seen, seen[:-1] @ np.array([[2.0], [-1.0]]), 0.1)


@pytest.mark.parametrize("optimizer", [None, optax.adam(0.1)])
def test_every_step_is_told_as_the_history_has_it(optimizer):
    told = Told()
    result = ro.minimize(
        valley, jnp.zeros(2), TARGET, steps=30, optimizer=optimizer, log=told
    )
    assert told.steps == list(range(result.steps + 1))
    assert told.column("loss") == result.history["loss"].tolist()
    for step, metrics in told.rows:
        assert all(type(value) is float for value in metrics.values())
        norm = result.history["gradient_norm"][step]
        assert metrics["gradient_norm"] == norm
    # The decrease of the last step is not known.
    *falls, _ = result.history["actual_decrease"]
    assert [m["actual_decrease"] for _, m in told.rows[:-1]] == falls


def test_terms_are_told_and_what_is_not_known_is_left_out():
    data = [samples(k) for k in range(3)]
    batch = ro.data.Demonstrations.from_trajectories(data[:2])
    held_out = ro.data.Demonstrations.from_trajectories(data[2:])
    told = Told()
    result = ro.minimize(
        ro.ActionMismatch(), LinearFeedback(jnp.zeros((1, 2))), batch,
        batch_size=8, steps=120, validation=held_out, log=told,
    )  # fmt: skip
    known = np.flatnonzero(~np.isnan(result.history["validation"]))
    assert 1 < len(known) < 121
    assert [k for k, m in told.rows if "validation" in m] == known.tolist()
    assert "action_mismatch" in told.rows[0][1]


def test_of_many_starts_the_best_is_told():
    starts, told = jnp.array([[5.0, 5.0], [1.0, -1.5]]), Told()
    result = ro.minimize(valley, starts, TARGET, batched=True, steps=5, log=told)
    assert told.column("loss") == result.history["loss"].min(1).tolist()


def test_a_log_that_fails_costs_no_result():
    def fails(at):
        def log(step, metrics):
            if step == at:
                raise OSError("no space left")

        return log

    settings: dict[str, Any] = {"steps": 9, "optimizer": optax.adam(0.1)}
    with pytest.warns(UserWarning, match="`log` failed at step 4 .*no space left"):
        result = ro.minimize(valley, jnp.zeros(2), TARGET, log=fails(4), **settings)
    assert result.steps == 9
    with pytest.raises(OSError, match="no space left"):
        ro.minimize(valley, jnp.zeros(2), TARGET, log=fails(0), **settings)
    with pytest.raises(ro.RobooptError, match="`log` must be a function"):
        kind: Any = TensorBoard
        ro.minimize(valley, jnp.zeros(2), TARGET, log=kind, **settings)


@pytest.mark.parametrize("optimizer", [None, optax.adam(0.1)])
def test_steps_are_told_though_a_signal_comes_while_others_are(optimizer, tmp_path):
    told, again = Told(), Told()
    settings: dict[str, Any] = {
        "optimizer": optimizer,
        "tolerance": 0.0,
        "patience": 10**6,
        "checkpoint": tmp_path / "c",
    }

    def bowl(model, batch):  # so flat that it is never at its bottom
        return jnp.sum((model - batch) ** 4)

    def log(step, metrics):
        if step == 40:
            signal.raise_signal(signal.SIGINT)
        told(step, metrics)

    start = jnp.full(2, 1e3)
    result = ro.minimize(bowl, start, TARGET, steps=10**6, log=log, **settings)
    assert result.reason == "interrupted" and result.steps > 40
    assert told.column("loss") == result.history["loss"].tolist()
    steps = result.steps + 9
    result = ro.minimize(bowl, start, TARGET, steps=steps, log=again, **settings)
    assert told.steps + again.steps == list(range(steps + 1))


def test_a_second_signal_ends_a_log_that_takes_long():
    told = Told()

    def log(step, metrics):
        told(step, metrics)
        if step >= 40:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("was not interrupted")

    settings: dict[str, Any] = {"steps": 10**6, "optimizer": optax.adam(1e-6)}
    found = ro.minimize(
        valley, jnp.zeros(2), TARGET, patience=10**6, log=log, **settings
    )
    # The second is in one of the steps that are left, if there is one.
    assert found.reason == "interrupted"
    assert told.steps in ([*range(41)], [*range(42)])


@pytest.mark.parametrize("of_callback", [True, False])
def test_least_squares_tell_all_steps_that_they_took_before_a_signal(of_callback):
    told = Told()

    class Bowl(ResidualObjective):
        def residuals(self, model, batch):
            return (model - batch) ** 3

    def callback(status):
        if of_callback and status.step == 3:
            signal.raise_signal(signal.SIGINT)

    def log(step, metrics):
        if not of_callback and step == 3:
            signal.raise_signal(signal.SIGINT)
        told(step, metrics)

    found = ro.optimize.least_squares(
        Bowl(), jnp.zeros(2), TARGET, tolerance=0.0, callback=callback, log=log
    )
    assert found.reason == "interrupted" and found.steps == 3
    assert told.column("loss") == found.history["loss"].tolist()


def test_a_resumed_descent_goes_on_counting(tmp_path):
    first, then = Told(), Told()
    settings: dict[str, Any] = {
        "optimizer": optax.adam(0.1),
        "checkpoint": tmp_path / "c",
    }
    ro.minimize(valley, jnp.zeros(2), TARGET, steps=4, log=first, **settings)
    result = ro.minimize(valley, jnp.zeros(2), TARGET, steps=9, log=then, **settings)
    assert first.steps + then.steps == list(range(10))
    assert first.column("loss") + then.column("loss") == result.history["loss"].tolist()


def test_descents_that_are_over_count_when_a_run_is_resumed(tmp_path):
    settings: dict[str, Any] = {"steps": 3, "optimizer": optax.sgd(0.1)}
    for again in (False, True):
        told = Told()
        one, kept = OneLog(told), ro.optimize.Checkpoint(tmp_path / "c")
        for name in "ab" if again else "a":
            ro.minimize(
                *(valley, jnp.zeros(2), TARGET),
                log=one.of_next,
                checkpoint=kept.part(name),
                **settings,
            )
        assert told.steps == ([4, 5, 6, 7] if again else [0, 1, 2, 3])
    # The same of least squares, whose finished fits tell nothing again.
    told = Told()
    one, kept = OneLog(told), ro.optimize.Checkpoint(tmp_path / "d")
    fitted: dict[str, Any] = {"checkpoint": kept.part("a"), "log": one.of_next}
    done = ro.optimize.least_squares(Line(), jnp.zeros(2), TARGET, **fitted)
    fitted = {"checkpoint": kept.part("a"), "log": one.of_next}
    kept = ro.optimize.Checkpoint(tmp_path / "d")
    one = OneLog(told)
    for part in "ab":
        fitted = {"checkpoint": kept.part(part), "log": one.of_next}
        ro.optimize.least_squares(Line(), jnp.zeros(2), TARGET, **fitted)
    assert told.steps == list(range(2 * done.steps + 2))


def test_least_squares_tell_each_term_and_the_damping():
    told = Told()
    # Half a mean square each: at the start (9 + 1)/4 of [3, −1], and 4/4 of [2, 0].
    far, near = ro.objectives.Keyed("far", Line()), ro.objectives.Keyed("near", Line())
    batch = {"far": jnp.array([-3.0, 1.0]), "near": jnp.array([-2.0, 0.0])}
    whole = far + 3.0 * near
    found = ro.optimize.least_squares(whole, jnp.zeros(2), batch, log=told)
    (_, first), *_, (_, last) = told.rows
    assert set(first) == {"loss", "1.line", "2.line", "damping"}
    assert first["1.line"] == pytest.approx(2.5)
    assert first["2.line"] == pytest.approx(1.0)
    for metrics in (first, last):
        total = metrics["1.line"] + 3 * metrics["2.line"]
        assert metrics["loss"] == pytest.approx(total)
    assert last["loss"] == pytest.approx(found.loss)
    assert last["damping"] < first["damping"]


def test_several_descents_are_one():
    told = Told()
    one = OneLog(told)
    for _ in range(2):
        ro.minimize(
            valley,
            jnp.zeros(2),
            TARGET,
            steps=3,
            optimizer=optax.sgd(0.1),
            log=one.of_next,
        )
    assert told.steps == list(range(8))
    assert OneLog(None).of_next is None


def test_verbs_tell(tmp_path):
    told = Told()
    ro.clone([samples(k) for k in range(4)], policy="linear", steps=6, log=told)
    assert told.steps[:7] == list(range(7)) and "loss" in told.rows[0][1]
    told, path = Told(), tmp_path / "returns.csv"
    start = LinearFeedback(jnp.zeros((1, 4)))
    settings: dict[str, Any] = {"envs": 2, "max_steps": 5, "timesteps": 300}
    found = ro.reinforce(
        "roboopt/CartPoleBalance-v0",
        gradient="zeroth-order",
        policy=start,
        episodes=0,
        log=told,
        returns_file=path,
        **settings,
    )
    assert told.steps[0] == 0 and "negative_reward" in told.rows[0][1]
    assert told.rows[-1][1]["timesteps"] <= found.timesteps
    assert "mean_return" in told.rows[-1][1] and path.exists()
    counted = told.rows[-1][1]["evaluated_episodes"]
    assert counted == len(path.read_text().splitlines()) - 1
    assert "episodes" not in told.rows[-1][1]
    told, settings = Told(), {**settings, "timesteps": 512, "width": 4}
    ppo: Any = {"gradient": "likelihood", "episodes": 0, "log": told}
    ro.reinforce("roboopt/CartPoleBalance-v0", **ppo, **settings)
    last = told.rows[-1][1]
    assert last["timesteps"] == 512 and last["episodes"] in (101, 102)  # of 5 steps


def read(file):
    """Yield the events of a file, read by its format."""
    messages = importlib.import_module("tensorboardX.proto.event_pb2")
    raw = file.read_bytes()
    while raw:
        (size,) = struct.unpack("<Q", raw[:8])
        yield messages.Event.FromString(raw[12 : 12 + size])
        raw = raw[16 + size :]


def events(folder):
    """Return (step, values by tag) of the event file."""
    (file,) = folder.glob("events.out.tfevents.*")
    found = []
    for event in read(file):
        if event.summary.value:
            tags = {v.tag: v.simple_value for v in event.summary.value}
            found.append((event.step, tags))
    return found


def test_tensorboard_shows_what_was_told(tmp_path):
    with TensorBoard(tmp_path, every=2) as log:
        log(0, {"loss": 1.5, "motion.error": 2.0})
        log(1, {"loss": 9.0})
        log(2, {"loss": 0.5})
    log.close()
    assert events(tmp_path) == [
        (0, {"loss": 1.5, "motion/error": 2.0}),
        (2, {"loss": 0.5}),
    ]


def test_runs_in_one_folder_are_told_apart_by_tensorboard(tmp_path):
    for loss in (1.0, 2.0, 3.0):
        with TensorBoard(tmp_path) as log:
            log(0, {"loss": loss})
    shown = [events(tmp_path / name) for name in ("", "run_2", "run_3")]
    assert shown == [[(0, {"loss": loss})] for loss in (1.0, 2.0, 3.0)]
    # A run that is resumed in its folder is the same run.
    with TensorBoard(tmp_path, resume=True) as log:
        log(1, {"loss": 4.0})
    assert len([*tmp_path.glob("events.*")]) == 2 and not (tmp_path / "run_4").exists()


def test_lines_are_there_as_they_are_told(tmp_path):
    path = tmp_path / "log.jsonl"
    log = JSONLines(path)
    log(0, {"loss": 1.5})
    assert json.loads(path.read_text()) == {"step": 0, "loss": 1.5}
    log(1, {"loss": np.inf})
    log.close()
    assert path.read_text().splitlines()[1] == '{"step": 1, "loss": null}'
    with pytest.raises(ro.RobooptError, match="`path` cannot be written"):
        JSONLines(path / "below")
    with pytest.raises(ro.RobooptError, match="`every` must be at least 1"):
        JSONLines(path, every=0)


def test_runs_in_one_file_are_told_apart(tmp_path):
    path = tmp_path / "of" / "runs" / "log.jsonl"
    for loss in (1.0, 2.0, 3.0):
        with JSONLines(path) as log:
            log(0, {"loss": loss})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 0, "loss": 1.0},
        {"run": 2, "step": 0, "loss": 2.0},
        {"run": 3, "step": 0, "loss": 3.0},
    ]
    # A run that is resumed in its folder is the same run.
    with JSONLines(path, resume=True) as log:
        log(1, {"loss": 4.0})
    assert path.read_text() == '{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 4.0}\n'


def test_steps_after_the_checkpoint_of_a_killed_run_are_kept_once(tmp_path):
    logs = []  # open, as a killed process leaves them
    for steps in (range(5), range(3, 7)):
        for kind in (JSONLines, TensorBoard):
            logs.append(log := kind.for_run(tmp_path))
            for step in steps:
                log(step, {"loss": float(len(steps))})
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write('{"step": 5, "lo')  # torn by the kill
    lines = (tmp_path / "log.jsonl").read_text().splitlines()[:-1]
    assert [json.loads(text)["step"] for text in lines] == list(range(7))
    assert [json.loads(text)["loss"] for text in lines] == 3 * [5.0] + 4 * [4.0]
    # TensorBoard drops what is at and after the step of a start of session.
    messages = importlib.import_module("tensorboardX.proto.event_pb2")
    first, second = sorted(tmp_path.glob("events.*"))
    assert [e.step for e in read(first) if e.summary.value] == list(range(5))
    starts = [e.step for e in read(second) if e.HasField("session_log")]
    assert starts == [3] and messages.SessionLog.START == 1
    assert [e.step for e in read(second) if e.summary.value] == [3, 4, 5, 6]
    for log in logs:
        log.close()


@contextlib.contextmanager
def full_disk():
    """Let no file of this process grow, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("kind", [TensorBoard, JSONLines])
def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path, monkeypatch, kind, first):
    monkeypatch.setattr("roboopt.loggers._loggers.FLUSH_S", -1.0)
    own, other = kind(tmp_path / "own"), Told()
    target = re.escape(str(tmp_path / "own"))
    said = f"`log` {kind.__name__} cannot write to {target}.*steps from {first} on"

    def log(step, metrics):
        with full_disk() if step >= first else contextlib.nullcontext():
            own(step, metrics)
        other(step, metrics)

    with pytest.warns(UserWarning, match=said) as warned:
        result = ro.minimize(
            valley, jnp.zeros(2), TARGET, steps=9, optimizer=optax.adam(0.1), log=log
        )
        own.close()
    assert len(warned) == 1  # once
    assert result.steps == 9 and other.steps == list(range(10))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_named():
    with (
        pytest.warns(UserWarning, match="JSONLines .* /dev/full: .*No space left"),
        JSONLines("/dev/full") as log,
    ):
        log(0, {"loss": 1.5})


def test_packages_that_are_missing_are_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    for name, kind in LOGGERS.items():
        if name != "jsonl":
            what = rf"needs {name}X?: pip install ('roboopt\[)?{name}"
            with pytest.raises(ro.RobooptError, match=what):
                kind.for_run(Path("runs/x.partial"))


class Judged:
    """A result of a verb, as loggers see it."""

    def __init__(self, *, interrupted=False):
        self.interrupted = interrupted

    def record(self):
        return {"run": {"starts": 32, "scales": np.ones(2)}, "result": {"loss": 1.0}}

    def metrics(self):
        return {"success [%]": 90.0, "peak torque [N·m]": 2.0}


SETTINGS = {"steps": 3, "tool": None, "locked": [], "own": {"seed": 1}}


def ended(log, how):
    """Tell a logger of a run that ends so."""
    error = {"finished": None, "interrupted": KeyboardInterrupt, "failed": OSError}[how]
    with contextlib.suppress(KeyboardInterrupt, OSError), log:
        log.settings(SETTINGS)
        log(0, {"loss": 1.5})
        log(1, {"loss": 0.5})
        if error is not None:
            raise error
        log.result(Judged())


def records(file):
    """Yield the records of a file of wandb: a log of LevelDB, in blocks of 32 kB."""
    messages = importlib.import_module("wandb.proto.wandb_internal_pb2")
    raw, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        if (left := -at % 32768) and left < 7:  # no room for a header
            at += left
            continue
        size, kind = struct.unpack("<HB", raw[at + 4 : at + 7])
        whole += raw[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # The record is full, or this was its last part.
            yield messages.Record.FromString(whole)
            whole = b""


def test_weights_and_biases_gets_what_was_told(monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    known = set()
    for how, code in (("finished", 0), ("interrupted", 255), ("failed", 1)):
        log = LOGGERS["wandb"].for_run(tmp_path / "pen.partial")
        assert getattr(wandb.run, "name", "") == "pen"
        ended(log, how)
        assert wandb.run is None
        files = {*tmp_path.glob("wandb/offline-run-*/run-*.wandb")}
        (file,), known = files - known, files
        late = time.monotonic() + 20  # Its own process writes the file.
        while not any(x.HasField("exit") for x in records(file)):
            assert time.monotonic() < late
            time.sleep(0.1)
        config, summary, losses, codes = {}, {}, [], []
        for record in records(file):
            said = (record.config, config), (record.summary, summary)
            for items, into in (*said, (record.run.config, config)):
                into |= {_key(item): item.value_json for item in items.update}
            items = record.history.item
            losses += [item.value_json for item in items if _key(item) == "loss"]
            codes += [record.exit.exit_code] if record.HasField("exit") else []
        assert losses == ["1.5", "0.5"] and codes == [code]
        assert config["steps"] == "3" and config["own.seed"] == "1"
        assert "tool" not in config and "locked" not in config
        assert ("run.starts" in config) == (how == "finished")
        if how == "finished":
            assert float(summary["result/success [%]"]) == 90.0


def _key(item):
    return item.key or ".".join(item.nested_key)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "how, status",
    [("finished", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")],
)
def test_mlflow_gets_what_was_told(monkeypatch, tmp_path, how, status):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("sqlalchemy")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    log = LOGGERS["mlflow"].for_run(tmp_path / "pen.partial")
    run = mlflow.active_run().info.run_id
    before = time.time()
    ended(log, how)
    found, client = mlflow.get_run(run), mlflow.MlflowClient()
    assert found.info.run_name == "pen" and found.info.status == status
    result = {"result/success percent": 90.0, "result/peak torque N m": 2.0}
    whole = how == "finished"
    assert found.data.metrics == {"loss": 0.5} | (result if whole else {})
    chosen = {"run.starts": "32", "run.scales": "[1.0, 1.0]"} if whole else {}
    assert found.data.params == {"steps": "3", "own.seed": "1"} | chosen
    points = client.get_metric_history(run, "loss")
    assert [(x.step, x.value) for x in points] == [(0, 1.5), (1, 0.5)]
    assert all(before - 1 < x.timestamp / 1e3 < time.time() + 1 for x in points)
    assert mlflow.active_run() is None
    # A run of the user goes on, and a parameter that it has stays what it is.
    with mlflow.start_run() as own:
        mlflow.log_param("steps", 9)
        with LOGGERS["mlflow"].for_run(tmp_path) as log:
            log.settings(SETTINGS)
            log.result(Judged(interrupted=True))
        assert mlflow.active_run() is not None
    found = mlflow.get_run(own.info.run_id)
    assert found.info.status == "FINISHED" and found.data.params["steps"] == "9"
    assert found.data.metrics == result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_mlflow_is_told_of_a_signal(tmp_path, name):
    mlflow = pytest.importorskip("mlflow")
    store = f"sqlite:///{tmp_path}/runs.db"
    mlflow.set_tracking_uri(store)
    mlflow.search_experiments()  # makes the tables
    line = "-m roboopt reinforce roboopt/CartPoleBalance-v0 --timesteps 1000000"
    words = [sys.executable, *line.split(), "--log", "mlflow", "--name", "pen"]
    environ = {**os.environ, "MLFLOW_TRACKING_URI": store}
    with subprocess.Popen(words, cwd=tmp_path, env=environ) as process:
        late = time.monotonic() + 120
        while time.monotonic() < late:
            runs = mlflow.search_runs(output_format="list")
            if runs and "loss" in runs[0].data.metrics:
                break
            time.sleep(0.5)
        process.send_signal(getattr(signal, name))
    (run,) = mlflow.search_runs(output_format="list")
    assert run.info.status == "KILLED" and run.info.end_time
    assert run.data.params["timesteps"] == "1000000"
    assert run.data.params["algorithm.name"] == "AnalyticGradient"
    assert run.data.metrics["result/timesteps"] > 0


def test_a_command_tells_its_loggers_of_settings_and_result(tmp_path, monkeypatch):
    told = []

    class Own(Logger):
        @classmethod
        def for_run(cls, folder):
            told.append(cls())
            return told[-1]

        def write(self, step, metrics):
            self.step = step

        def write_settings(self, settings):
            self.known = {**getattr(self, "known", {}), **settings}

        def write_result(self, metrics):
            self.metrics = metrics

        def close(self):
            self.closed = True

    monkeypatch.setitem(LOGGERS, "jsonl", Own)
    file = tmp_path / "demos.npz"
    ro.data.save_episodes(file, [samples(k) for k in range(4)])
    words = f"clone {file} --policy linear --steps 6 --name pen --log jsonl --no-video"
    assert main([*words.split(), "--runs", str(tmp_path)]) == 0
    (own,) = told
    assert own.known["command"] == "clone" and own.known["steps"] == 6
    assert own.known["training.policy"] and "patience" not in own.known
    kept = json.loads((tmp_path / "pen" / "metrics.json").read_text())["metrics"]
    assert own.metrics == kept and own.outcome == "finished" and own.closed

    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("roboopt.imitation._clone_training.minimize", broken)
    assert main([*words.split(), "--runs", str(tmp_path / "b")]) == 130
    assert told[-1].outcome == "interrupted" and told[-1].closed


def test_the_flag_leaves_the_log_in_the_folder_of_the_run(tmp_path):
    file = tmp_path / "demos.npz"
    ro.data.save_episodes(file, [samples(k) for k in range(4)])
    line = f"clone {file} --policy linear --steps 6 --name pen --log jsonl,tensorboard"
    assert main([*line.split(), "--runs", str(tmp_path)]) == 0
    lines = (tmp_path / "pen" / "log.jsonl").read_text().splitlines()
    assert [json.loads(text)["step"] for text in lines[:7]] == list(range(7))
    assert [*(tmp_path / "pen").glob("events.*")]


def test_a_resumed_run_goes_on_logging(tmp_path, capsys):
    file, pen = tmp_path / "demos.npz", tmp_path / "pen"
    ro.data.save_episodes(file, [samples(k) for k in range(4)])
    own = "--policy", "linear", "--past-actions", "0", "--validation", "0.25"
    words = ["clone", str(file), *own, "--steps", "6", "--runs", str(tmp_path)]
    assert main([*words, "--name", "pen", "--log", "jsonl", "--no-video"]) == 0

    def steps(folder):
        lines = (folder / "log.jsonl").read_text().splitlines()
        return [json.loads(text)["step"] for text in lines]

    record = json.loads((pen / "settings.json").read_text())
    assert record["flags"]["log"] == "jsonl" and record["complete"]
    seconds = json.loads((pen / "metrics.json").read_text())["metrics"][
        "optimization time [s]"
    ]
    kept = {path: path.read_bytes() for path in pen.iterdir()}
    capsys.readouterr()
    assert main(["clone", "--resume", str(pen)]) == 0
    said = capsys.readouterr().out
    assert "pen is finished" in said and "--steps" in said
    assert {path: path.read_bytes() for path in pen.iterdir()} == kept
    # As of a run that was killed after steps that its checkpoint does not have.
    pen.rename(pen.with_name("pen.partial"))
    with (tmp_path / "pen.partial" / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "loss": 0.0}\n{"step": 8, "loss": 0.0}\n{"st')
    again = ["clone", "--resume", str(pen), "--no-video", "--steps"]
    assert main([*again, "12"]) == 0 and steps(pen) == list(range(13))
    assert json.loads((pen / "settings.json").read_text())["flags"]["log"] == "jsonl"
    metrics = json.loads((pen / "metrics.json").read_text())["metrics"]
    assert metrics["optimization time [s]"] > seconds
    # Another logger may be given; a past run's settings have its logger, too.
    assert main([*again, "18", "--log", "tensorboard"]) == 0
    assert steps(pen) == list(range(13)) and [*pen.glob("events.*")]
    words = ["clone", "--config", str(pen), "--runs", str(tmp_path), "--no-video"]
    assert main([*words, "--name", "two"]) == 0
    assert [*(tmp_path / "two").glob("events.*")]


def test_a_logger_of_ones_own_needs_two_methods_and_gets_the_last_step():
    class Own(Logger):
        def __init__(self, every=1):
            super().__init__(every)
            self.steps = []

        @classmethod
        def for_run(cls, folder):
            return cls()

        def write(self, step, metrics):
            self.steps.append(step)

        def close(self):
            pass

    for count, kept in ((8, [0, 5, 7]), (6, [0, 5]), (0, [])):
        own = Own(every=5)
        with own as log:
            for step in range(count):
                log(step, {})
        assert own.steps == kept
