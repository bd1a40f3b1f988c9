"""ONNX: the same actions under ONNX Runtime, where jax2onnx is installed."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.cli import main


def test_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'roboopt\[onnx\]'"):
        ro.export.export_onnx(jnp.tanh, np.ones(2), tmp_path / "policy.onnx")


def test_a_memory_is_refused(tmp_path):
    policy = ro.policies.ObservationHistory(
        ro.policies.LinearFeedback(np.ones((1, 4))), 2, 2
    )
    with pytest.raises(ValueError, match="must have no memory.*NumPy"):
        ro.export.export_onnx(policy, np.ones(2), tmp_path / "policy.onnx")


def test_the_file_is_named_for_its_format(tmp_path):
    with pytest.raises(ValueError, match="must end in .onnx, got 'policy.npz'"):
        ro.export.export_onnx(jnp.tanh, np.ones(2), tmp_path / "policy.npz")


def cloned():
    """Return policies as `clone` makes them, clipped, and their observations' size."""
    draw = np.random.default_rng(0)
    seen, acted = draw.normal(size=(50, 2)), draw.uniform(-2, 2, size=(50, 2))
    key, way = jax.random.key(0), {"goal": np.zeros(2), "time_step": 0.1}
    linear = ro.policies.LinearPolicy.of((seen, acted), angles=(1,))
    small = {"key": key, "width": 8}
    relative = ro.policies.RelativeActions.of((seen, acted), (1, 0), **small)
    stable = ro.policies.StablePolicy.of((seen, -seen), **small, **way)
    return [ro.policies.Clipped(p, -1.5, [1, 2]) for p in (linear, relative, stable)]


@pytest.mark.parametrize(
    "which",
    [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)],
    ids="network linear relative stable".split(),
)
def test_it_agrees_under_onnx_runtime(which, tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    bounded = ro.policies.MLPPolicy.bounded(
        np.ones(2), np.ones(1), key=jax.random.key(0)
    )
    policy = [bounded, *cloned()][which]
    path = ro.export.export_onnx(policy, np.ones(2), tmp_path / "policy.onnx")
    session = runtime.InferenceSession(str(path))
    for observation in 3 * np.random.default_rng(0).normal(size=(10, 2)):
        (action,) = session.run(["action"], {"observation": observation})
        np.testing.assert_allclose(action, policy(jnp.asarray(observation)), rtol=1e-6)


# Here, since importing jax2onnx takes long.
def test_a_run_becomes_an_onnx_file(tmp_path, capsys):
    pytest.importorskip("jax2onnx")
    ro.save(tmp_path / "controller.npz", ro.policies.LinearFeedback(np.ones((1, 4))))
    assert main(["export", str(tmp_path), "--format", "onnx"]) == 0
    assert "session.run(None" in capsys.readouterr().out
    assert (tmp_path / "export" / "policy.onnx").is_file()


def test_past_actions_are_a_memory_and_refused(tmp_path):
    inner = ro.policies.LinearFeedback(np.ones((1, 3)))
    policy = ro.policies.Clipped(ro.policies.PastActions(inner, [0.0]), -1, 1)
    with pytest.raises(ro.RobooptError, match="must have no memory.*NumPy"):
        ro.export.export_onnx(policy, np.ones(2), tmp_path / "policy.onnx")
