"""Checkpoints: a descent that was killed goes on as if it had not been."""

import resource
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.optimize import _checkpoint

STEPS = 20_000
ADAM = optax.adam(1e-2)  # one object, so that its programs are compiled once
DATA = np.random.default_rng(0).normal(size=(64, 3))

# The same descent, in a process of its own that writes after every chunk.
PROGRAM = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import roboopt as ro
from roboopt.optimize import _checkpoint
_checkpoint.PERIOD_S = 0.0
def loss(model, batch):
    return ((batch - model[None]) ** 2).mean() + 0.1 * (model**4).sum()
data = np.random.default_rng(0).normal(size=(64, 3))
ro.minimize(loss, jax.numpy.ones(3), data, steps=int(sys.argv[2]), batch_size=8,
            checkpoint=sys.argv[1])
"""


def loss(model, batch):
    return ((batch - model[None]) ** 2).mean() + 0.1 * (model**4).sum()


def descend(**settings):
    arguments = {"steps": STEPS, "batch_size": 8, **settings}
    return ro.minimize(loss, jnp.ones(3), DATA, **arguments)


def test_a_killed_descent_goes_on_to_the_same_bits(tmp_path):
    path = tmp_path / "checkpoint.npz"
    command = [sys.executable, "-c", PROGRAM, str(path), str(STEPS)]
    with subprocess.Popen(command) as process:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with np.load(path) as file:
        assert 0 < len(file["history/loss"]) <= STEPS
    resumed, whole = descend(checkpoint=path), descend()
    np.testing.assert_array_equal(resumed.history["loss"], whole.history["loss"])
    np.testing.assert_array_equal(resumed.model, whole.model)
    assert resumed.steps == STEPS


def test_a_finished_descent_can_be_made_longer(tmp_path):
    path = tmp_path / "checkpoint.npz"
    same = {"optimizer": optax.adam(1e-2)}
    descend(steps=30, checkpoint=path, **same)
    longer = descend(steps=50, checkpoint=path, **same)
    np.testing.assert_array_equal(
        longer.history["loss"], descend(steps=50, **same).history["loss"]
    )


def test_checkpoints_come_in_time_and_three_are_left(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    monkeypatch.setattr(_checkpoint, "PERIOD_S", 0.0)
    seen = []
    descend(steps=600, checkpoint=path, callback=lambda s: seen.append(path.exists()))
    assert all(seen)
    kept = "checkpoint.npz", "checkpoint.1.npz", "checkpoint.2.npz"
    assert {p.name for p in tmp_path.iterdir()} == set(kept)
    lengths = [len(np.load(tmp_path / name)["history/loss"]) for name in kept]
    assert lengths[0] >= lengths[1] > lengths[2] > 0


def test_a_damaged_checkpoint_is_continued_from_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    monkeypatch.setattr(_checkpoint, "PERIOD_S", 0.0)
    whole = descend(steps=600, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="broken.*continues from .*checkpoint.1.npz"):
        again = descend(steps=600, checkpoint=path)
    np.testing.assert_array_equal(again.history["loss"], whole.history["loss"])


def removed(folder):
    shutil.rmtree(folder)


def replaced(folder):
    shutil.rmtree(folder)
    folder.write_text("a file")


def full(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


@pytest.mark.parametrize("break_it", [removed, replaced, full])
def test_a_write_that_fails_costs_no_result(tmp_path, monkeypatch, break_it):
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(_checkpoint, "PERIOD_S", 0.0)

    def watch(status):
        if status.step and not broken:
            broken.append(status.step)
            break_it(folder)

    broken, limits = [], resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.warns(
            UserWarning, match="`checkpoint` could not be written"
        ) as said:
            found = descend(steps=600, checkpoint=folder / "c.npz", callback=watch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(said) == 1 and found.reason == "steps" and found.steps == 600
    assert "`checkpoint` could not be written" in found.message
    assert found.loss == descend(steps=600).loss
    if folder.is_dir():  # the last one that was written can be continued
        descend(steps=600, checkpoint=folder / "c.npz")
        assert not list(folder.glob(".*"))


def test_the_path_is_tried_before_anything_is_compiled(tmp_path):
    left = tmp_path / ".c.npz.999999999"  # of a process that is gone
    left.write_text("half")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(
            ro.RobooptError, match="`checkpoint`.*cannot: File too large"
        ):
            descend(checkpoint=tmp_path / "c.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def scaled_loss(scale):
    return lambda model, batch: ((batch - (scale * model)[None]) ** 2).mean()


def ruled_loss(kind, slope):
    """Return a loss whose derivative alone depends on `slope`."""

    @getattr(jax, f"custom_{kind}")
    def square(x):
        return (x**2).sum()

    if kind == "jvp":
        square.defjvp(lambda x, v: (square(*x), slope * (x[0] * v[0]).sum()))
    else:
        square.defvjp(lambda x: (square(x), x), lambda x, g: (slope * g * x,))
    return lambda model, batch: square(model)


class Simulator:
    """A simulator outside JAX."""

    def __init__(self, gain):
        self.gain = gain

    def run(self, x):
        return self.gain * np.sum(np.asarray(x) ** 2)


def simulated_loss(gain):
    """Return a loss of which JAX sees a call of an object alone."""
    run, result = Simulator(gain).run, jax.ShapeDtypeStruct((), np.dtype(float))
    square = jax.custom_vjp(lambda x: jax.pure_callback(run, result, x))
    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * g * x,))
    return lambda model, batch: square(model)


def noisy(seed):
    return optax.chain(optax.sgd(1e-2), optax.add_noise(0.1, 0.5, seed))


SCALES = np.array([1.0, 2.0, 3.0])
OTHERS = {
    "seed (0, here 1)": {"seed": 1},
    "model (model float64[3], here model float32[3])": {
        "model": jnp.ones(3, jnp.float32)
    },
    "initial values": {"model": jnp.full(3, 2.0)},
    "data": {"data": DATA + np.eye(64, 3) * 1e-12},
    "bounds": {"bounds": [ro.Bound(lambda m: m, -9.0, 10.0)]},
    "gradient (NoneType, here ZerothOrder)": {"gradient": ro.gradients.ZerothOrder()},
    "objective": {"objective": scaled_loss(1.0)},
    "optimizer (default, here given)": {"optimizer": optax.adam(1e-2)},
}


def continued(path, **changed):
    arguments = {"objective": loss, "model": jnp.ones(3), "data": DATA, "steps": 5}
    arguments |= {"batch_size": 8, "bounds": [ro.Bound(lambda m: m, -9.0, 9.0)]}
    return ro.minimize(**(arguments | changed), checkpoint=path)


@pytest.mark.parametrize("differs", OTHERS)
def test_checkpoints_of_other_descents_are_refused(tmp_path, differs):
    path = tmp_path / "checkpoint.npz"
    before = continued(path)
    with pytest.raises(ro.RobooptError) as caught:
        continued(path, **OTHERS[differs])
    assert f"differs in {differs};" in str(caught.value)
    assert continued(path).loss == before.loss  # the file is as it was


@pytest.mark.parametrize(
    "name, first, second",
    [
        ("objective", scaled_loss(1.0), scaled_loss(1.5)),
        ("objective", scaled_loss(SCALES), scaled_loss(SCALES + 1e-12)),
        ("objective", scaled_loss(jnp.array(SCALES)), scaled_loss(jnp.array(-SCALES))),
        ("objective", ruled_loss("jvp", 2.0), ruled_loss("jvp", 3.0)),
        ("objective", ruled_loss("vjp", 2.0), ruled_loss("vjp", 3.0)),
        ("objective", simulated_loss(1.0), simulated_loss(2.0)),
        ("optimizer", noisy(0), noisy(1)),
        ("optimizer", optax.adam(1e-2), optax.adam(2e-2)),
        ("optimizer", optax.adam(1e-2), optax.adam(1e-2, b1=0.8)),
        ("optimizer", optax.adam(1e-2), optax.adam(1e-2, nesterov=True)),
        ("gradient", ro.gradients.ZerothOrder(2), ro.gradients.ZerothOrder(3)),
        (
            "data",
            lambda model, key: jax.random.normal(key, (4, 3)),
            lambda model, key: 2 * jax.random.normal(key, (4, 3)),
        ),
    ],
)
def test_settings_that_only_their_values_tell_apart(tmp_path, name, first, second):
    path = tmp_path / "checkpoint.npz"
    size = {"batch_size": None} if name == "data" else {}
    continued(path, **{name: first}, **size)
    with pytest.raises(ro.RobooptError, match=f"differs in {name};"):
        continued(path, **{name: second}, **size)
    continued(path, **{name: first}, **size)


def test_a_file_without_a_descent_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.ones(2))
    with pytest.raises(ValueError, match="`checkpoint` must be of the same descent"):
        descend(steps=5, checkpoint=tmp_path / "other.npz")


def test_many_starts_resume_too(tmp_path):
    path = tmp_path / "checkpoint.npz"
    starts = jax.random.normal(jax.random.key(0), (4, 2))

    def run(steps, **settings):
        return ro.minimize(
            lambda m, b: ((m - 1) ** 2).sum(),
            starts,
            jnp.zeros(1),
            steps=steps,
            batched=True,
            optimizer=optax.adam(0.1),
            **settings,
        )

    run(10, checkpoint=path)
    resumed = run(20, checkpoint=path)
    np.testing.assert_array_equal(resumed.history["loss"], run(20).history["loss"])


class Counting:
    """A callback that counts its calls, over interruptions too."""

    def __init__(self):
        self.calls, self.restored = 0, 0

    def __call__(self, status):
        self.calls += 1

    def state(self):
        return {"calls": np.asarray(self.calls)}

    def restore(self, state):
        self.calls = self.restored = int(state["calls"])


def test_the_state_of_a_callback_is_in_the_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.npz"
    first, second = Counting(), Counting()
    descend(steps=30, callback=first, optimizer=ADAM, checkpoint=path)
    again = optax.adam(1e-2)  # another object with the same settings
    descend(steps=50, callback=second, optimizer=again, checkpoint=path)
    assert second.restored == first.calls > 0


class Blocks:
    """A source of blocks that it can repeat, of which each serves 7 steps."""

    steps, drifts = 7, False

    def __init__(self):
        self.number = 0

    def next(self, model, key):
        self.number += 1
        return self.repeat()

    def repeat(self):
        return np.random.default_rng(self.number).normal(size=(64, 3))

    def state(self):
        return {"number": np.asarray(self.number)}

    def restore(self, state):
        self.number = int(state["number"])


@pytest.mark.parametrize("before", [2, 6, 7, 20])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_source_that_repeats_its_batch_resumes_within_it(
    tmp_path, before, batch_size
):
    def run(**settings):
        same = {"optimizer": ADAM, "batch_size": batch_size, "steps": 30}
        return ro.minimize(loss, jnp.ones(3), Blocks(), **same, **settings)

    stop = {"callback": lambda status: status.step >= before}
    half = run(checkpoint=tmp_path / "c.npz", **stop)
    assert before <= half.steps < 30
    resumed, whole = run(checkpoint=tmp_path / "c.npz"), run()
    for name, values in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], values)
    np.testing.assert_array_equal(resumed.model, whole.model)


def test_descents_share_a_file_part_by_part(tmp_path):
    path = tmp_path / "c.npz"

    def run(steps=40, stop=None, **changed):
        kept = ro.optimize.Checkpoint(path)
        first = ro.minimize(
            loss, jnp.ones(3), DATA, steps=9, checkpoint=kept.part("first"), **changed
        )
        return first, ro.minimize(
            loss,
            first.model,
            DATA,
            steps=steps,
            optimizer=optax.adam(1e-2),
            callback=stop,
            checkpoint=kept.part("second", rate=0.01),
        )

    _, half = run(stop=lambda status: status.step > 2)
    again, resumed = run()
    path.unlink()
    first, whole = run()
    assert half.steps < 40 == resumed.steps
    np.testing.assert_array_equal(again.history["loss"], first.history["loss"])
    assert again.first_gradient.keys() == first.first_gradient.keys() != set()
    np.testing.assert_array_equal(resumed.model, whole.model)
    with pytest.raises(ro.RobooptError, match="'first' in .* differs in seed .0, here"):
        run(seed=1)
    kept = ro.optimize.Checkpoint(path)
    with pytest.raises(ro.RobooptError, match="`checkpoint` must be of the same"):
        ro.minimize(loss, jnp.ones(3), DATA, checkpoint=kept.part("another"))
    with pytest.raises(ro.RobooptError, match="`checkpoint` must be of the same"):
        ro.minimize(loss, jnp.ones(3), DATA, checkpoint=path)


class Fitted(ro.objectives.ResidualObjective):
    scale: float = 1.0

    def residuals(self, model, batch):
        bend = 10 * (model[1:] - model[:-1] ** 2)
        return self.scale * jnp.concatenate([bend, 1 - model, batch * (model - 3)])


def fitted(objective=None, model=None, **settings):
    arguments = objective or Fitted(), jnp.full(4, -1.5) if model is None else model
    return ro.least_squares(*arguments, 0.1 * np.ones(4), **settings)


@pytest.mark.parametrize("steps", [0, 1, 5, 9])
def test_a_fit_resumes_to_the_same_bits(tmp_path, steps):
    path, whole = tmp_path / "c.npz", fitted()
    fitted(callback=lambda status: status.step > steps, checkpoint=path)
    resumed = fitted(checkpoint=path)
    np.testing.assert_array_equal(resumed.history["loss"], whole.history["loss"])
    np.testing.assert_array_equal(resumed.model, whole.model)
    assert resumed.reason == whole.reason and resumed.steps == whole.steps > 10
    ended = fitted(checkpoint=path)
    assert ended.reason == whole.reason and ended.steps == whole.steps
    assert ended.seconds == resumed.seconds


def test_the_time_of_a_resumed_descent_is_that_of_all_parts(tmp_path):
    def slowly(status):
        time.sleep(0.5)

    def descended(steps, callback=None):
        return ro.minimize(
            *(lambda model, batch: jnp.sum(model**2), jnp.ones(2), None),
            steps=steps,
            optimizer=optax.sgd(0.01),
            callback=callback,
            checkpoint=tmp_path / "c.npz",
        )

    first, then = descended(3, slowly), descended(9)
    assert then.seconds > first.seconds > 0.5
    assert then.compile_seconds == first.compile_seconds
    # Without a step nothing is added but what it took to save after the last.
    assert descended(9).seconds == pytest.approx(then.seconds, abs=0.2)


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"objective": Fitted(2.0)}, "objective"),
        ({"model": jnp.full(4, -1.4)}, "initial values"),
        ({"bounds": [ro.Bound(lambda m: m, -9.0, 9.0)]}, "bounds"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, changed, named):
    fitted(steps=2, checkpoint=tmp_path / "c.npz")
    with pytest.raises(ro.RobooptError, match=f"differs in {named}"):
        fitted(**changed, checkpoint=tmp_path / "c.npz")
