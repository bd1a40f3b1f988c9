"""ONNX: the same actions under ONNX Runtime, where jax2onnx is installed."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro


def test_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'roboopt\[onnx\]'"):
        ro.export.export_onnx(jnp.tanh, np.ones(2), tmp_path / "policy.onnx")


def test_a_memory_is_refused(tmp_path):
    policy = ro.policies.ObservationHistory(
        ro.policies.LinearFeedback(np.ones((1, 4))), 2, 2
    )
    with pytest.raises(ValueError, match="must have no memory.*export_numpy"):
        ro.export.export_onnx(policy, np.ones(2), tmp_path / "policy.onnx")


def test_the_file_is_named_for_its_format(tmp_path):
    with pytest.raises(ValueError, match="must end in .onnx, got policy.npz"):
        ro.export.export_onnx(jnp.tanh, np.ones(2), tmp_path / "policy.npz")


def test_it_agrees_under_onnx_runtime(tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    policy = ro.policies.MLPPolicy.bounded(
        np.ones(4), np.ones(1), key=jax.random.key(0)
    )
    path = ro.export.export_onnx(policy, np.ones(4), tmp_path / "policy.onnx")
    session = runtime.InferenceSession(str(path))
    for observation in np.random.default_rng(0).normal(size=(10, 4)):
        (action,) = session.run(["action"], {"observation": observation})
        np.testing.assert_allclose(action, policy(jnp.asarray(observation)), rtol=1e-6)
