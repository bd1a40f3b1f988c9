"""What is exported does what the policy does, where nothing but NumPy can be had."""

import inspect
import re
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from roboopt_envs.cart_pole import URDF

import roboopt as ro
from roboopt import policies as policy_kinds
from roboopt.export import agreement, export_numpy
from roboopt.policies import act, initial_carry, observation_size

KEY = jax.random.key(0)
SMALL = {"width": 8, "depth": 1, "skip": False}
TWO_LINK = URDF.parent / "two_link.urdf"


def robot(path):
    return ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)


def samples(**settings):
    draw = np.random.default_rng(0)
    motions = [
        ro.Trajectory(draw.normal(size=(21, 4)), draw.uniform(-2, 2, (20, 2)), 0.1)
    ]
    return ro.data.Demonstrations.from_trajectories(motions, low=-3, high=3, **settings)


def motion():
    """Return samples of a motion to one goal, of positions and velocities."""
    path = np.linspace(1.0, 0.0, 31)[:, None] ** np.array([1.0, 2.0, 1.5])
    return path[:-1], np.diff(path, axis=0) / 0.1


def stable():
    way = {"goal": np.zeros(3), "time_step": 0.1, "width": 8, "layers": 3}
    return ro.policies.StablePolicy.of(motion(), key=KEY, **way)


def choices():
    draw = np.random.default_rng(0)
    motions = [
        ro.Trajectory(draw.normal(size=(21, 4)), draw.integers(0, 3, (20, 2)), 0.1)
    ]
    return ro.data.Demonstrations.from_trajectories(motions)


def tracking():
    motion = ro.policies.FourierReference.random(robot(TWO_LINK), 2.0, 3, KEY)
    return ro.policies.TrackingController(
        robot(TWO_LINK), motion, np.ones(2), np.ones(2)
    )


def plain(observation):
    return jnp.tanh(observation[:2]) * jnp.max(observation) + observation[1]


class Integrator(ro.policies.StatefulPolicy):
    """Does the sum of what it saw, and the time: memory by hand."""

    gain: jax.Array

    def init(self, key):
        return {"sum": jnp.zeros_like(self.gain)}

    def __call__(self, carry, observation, time):
        total = carry["sum"] + observation
        return {"sum": total}, self.gain * total + time


# A function that makes each policy, and the size of its observations.
POLICIES = {
    "LinearFeedback": (
        lambda: ro.policies.LinearFeedback(np.ones((1, 4)), np.ones(4)),
        6,
    ),
    "MLPPolicy": (
        lambda: ro.policies.MLPPolicy.bounded(2 * np.ones(4), 3 * np.ones(2), key=KEY),
        4,
    ),
    "ActorCritic": (lambda: ro.policies.ActorCritic.of(4, 2, key=KEY, width=8), 4),
    "GaussianExploration": (
        lambda: ro.policies.GaussianExploration(
            ro.policies.MLPPolicy.bounded(2 * np.ones(4), 3 * np.ones(2), key=KEY),
            0.1 * np.ones(2),
        ),
        4,
    ),
    "ParameterNoise": (
        lambda: ro.rl.ParameterNoise(
            ro.policies.MLPPolicy.bounded(2 * np.ones(4), 3 * np.ones(2), key=KEY)
        ),
        4,
    ),
    "cloned network": (
        lambda: ro.policies.MLPPolicy.of(samples(), key=KEY, width=8, angles=(1,)),
        4,
    ),
    "LinearPolicy": (
        lambda: ro.policies.LinearPolicy.of(samples(), angles=(1,), quantiles=True),
        4,
    ),
    "RelativeActions": (
        lambda: ro.policies.RelativeActions.of(samples(), (2, 0), key=KEY, **SMALL),
        4,
    ),
    "StablePolicy": (stable, 3),
    "SetpointShaping": (
        lambda: ro.policies.SetpointShaping(robot(TWO_LINK), lead=0.5, damping=0.1),
        6,
    ),
    "LowPass": (
        lambda: ro.policies.LowPass(
            ro.policies.LinearFeedback(np.ones((1, 4))), 0.02, action_size=1
        ),
        4,
    ),
    "Delayed": (
        lambda: ro.policies.Delayed(
            ro.policies.LinearFeedback(np.ones((1, 4))),
            0.015,
            time_step=0.01,
            action_size=1,
        ),
        4,
    ),
    "PastActions": (
        lambda: ro.policies.PastActions(
            ro.policies.LinearFeedback(0.2 * np.ones((2, 8))), np.ones(2), length=2
        ),
        4,
    ),
    "GaussianPolicy": (
        lambda: ro.policies.GaussianPolicy.of(samples(), key=KEY, **SMALL),
        4,
    ),
    "TanhGaussianPolicy": (
        lambda: ro.policies.TanhGaussianPolicy.of(samples(), key=KEY, **SMALL),
        4,
    ),
    "GMMPolicy": (lambda: ro.policies.GMMPolicy.of(samples(), key=KEY, **SMALL), 4),
    "FlowPolicy": (lambda: ro.policies.FlowPolicy.of(samples(), key=KEY, **SMALL), 4),
    "CategoricalPolicy": (
        lambda: ro.policies.CategoricalPolicy.of(choices(), key=KEY, **SMALL),
        4,
    ),
    "PDGravityCompensation": (
        lambda: ro.policies.PDGravityCompensation(
            robot(TWO_LINK), np.ones(2), np.ones(2)
        ),
        6,
    ),
    "EnergyShapingSwingUp": (
        lambda: ro.policies.EnergyShapingSwingUp(
            robot(URDF), np.ones(4), energy_gain=1.0
        ),
        4,
    ),
    "GravityCompensated": (
        lambda: ro.policies.GravityCompensated(
            ro.policies.MLPPolicy.of(samples(), key=KEY, **SMALL), robot(TWO_LINK)
        ),
        4,
    ),
    "TrackingController": (tracking, 4),
    "OpenLoopSpline": (
        lambda: ro.policies.OpenLoopSpline(np.arange(10.0).reshape(5, 2) ** 2, 0.9),
        3,
    ),
    "ObservationHistory": (
        lambda: ro.policies.ObservationHistory(
            ro.policies.MLPPolicy.of(samples(history=3), key=KEY, **SMALL), 3, 4
        ),
        4,
    ),
    "ActionChunking": (
        lambda: ro.policies.ActionChunking(
            ro.policies.MLPPolicy.of(samples(chunk=5), key=KEY, **SMALL), 4
        ),
        4,
    ),
    "ActionChunking to the end": (
        lambda: ro.policies.ActionChunking(
            ro.policies.MLPPolicy.of(samples(chunk=5), key=KEY, **SMALL), 4, None
        ),
        4,
    ),
    "history of chunks": (
        lambda: ro.policies.ObservationHistory(
            ro.policies.ActionChunking(
                ro.policies.MLPPolicy.of(samples(chunk=5, history=2), key=KEY, **SMALL),
                8,
            ),
            2,
            4,
        ),
        4,
    ),
    "Clipped": (
        lambda: ro.policies.Clipped(
            ro.policies.LinearFeedback(np.ones((2, 4))), [-0.5, -np.inf], [0.5, np.inf]
        ),
        4,
    ),
    "ClippedStatefulPolicy": (
        lambda: ro.policies.Clipped(Integrator(jnp.full(3, 0.5)), -1.0, 1.0),
        3,
    ),
    "ClippedOpenLoop": (
        lambda: ro.policies.Clipped(
            ro.policies.OpenLoopSpline(np.arange(10.0).reshape(5, 2) ** 2, 0.9), -1, 9
        ),
        3,
    ),
    "ClippedTimeVaryingPolicy": (
        lambda: ro.policies.Clipped(tracking(), -1.0, 1.0),
        4,
    ),
    "a stateful policy of the user": (lambda: Integrator(jnp.full(3, 0.5)), 3),
    "an equinox MLP": (lambda: eqx.nn.MLP(4, 2, 16, 2, jax.nn.gelu, key=KEY), 4),
    "a function": (lambda: plain, 5),
    "a partial": (
        lambda: jax.tree_util.Partial(lambda w, o: w @ o, jnp.ones((2, 3))),
        3,
    ),
}


GROUPS = {
    "robots": ["PDGravityCompensation", "EnergyShapingSwingUp", "TrackingController"],
    "stateful": [name for name, (make, _) in POLICIES.items() if "Chunk" in name],
}
GROUPS["others"] = [n for n in POLICIES if n not in sum(GROUPS.values(), [])]


TIMES = 0.01 * np.arange(100)


def imported(exported):
    """Return what the exported file imports; the first is in its docstring."""
    text = exported.runner.read_text("utf-8")
    return re.findall(r"^\s*(?:import|from) (\S+)", text, re.M)


def acted(exported, seen):
    """Return the actions of an exported policy, run in this process."""
    found: dict = {"__file__": str(exported.runner)}
    exec(exported.runner.read_text("utf-8"), found)
    policy = found["Policy"]()
    timed = "time" in inspect.signature(policy.__call__).parameters
    pairs = zip(seen, TIMES, strict=True)
    return np.stack([policy(o, t) if timed else policy(o) for o, t in pairs])


# The chains of robots take long to compile, and are no different in single precision.
@pytest.mark.parametrize(
    "group, double",
    [
        pytest.param(g, d, marks=[pytest.mark.slow] * (g == "others"))
        for g in GROUPS
        for d in (True, False)
        if d or g != "robots"
    ],
)
def test_it_agrees_and_imports_numpy_alone(group, double, tmp_path):
    for name in GROUPS[group]:
        make, size = POLICIES[name]
        with jax.enable_x64(double):
            policy = make()
            seen = np.random.default_rng(1).standard_normal((100, size))
            exported = export_numpy(policy, seen[0], tmp_path)
            step = lambda carry, at, policy=policy: act(policy, carry, *at)  # noqa: E731
            first, inputs = initial_carry(policy), (jnp.asarray(seen), TIMES)
            expected = np.asarray(jax.lax.scan(step, first, inputs)[1])
        assert imported(exported) == ["policy", "pathlib", "numpy"], name
        actions = acted(exported, seen)
        assert actions.shape == expected.shape and actions.dtype == expected.dtype
        # XLA's own float32 functions, such as tanh, err by several units in the last
        # place.
        error = (1e-6 if double else 1e-5) * np.abs(
            expected[np.isfinite(expected)]
        ).max()
        np.testing.assert_allclose(actions, expected, rtol=0, atol=error, err_msg=name)


@pytest.mark.parametrize(
    "name", ["LinearFeedback", "TrackingController", "ActionChunking"]
)
def test_it_agrees_where_jax_cannot_be_imported(name, tmp_path):
    make, size = POLICIES[name]
    policy = make()
    seen = np.random.default_rng(1).standard_normal((100, size))
    exported = export_numpy(policy, seen[0], tmp_path)
    difference, largest = agreement(exported, policy, seen, TIMES)
    assert difference < 1e-6 * largest


def test_other_files_beside_the_export_are_not_run(tmp_path):
    # NumPy imports these when it reads an archive.
    for name in ("zipfile", "tokenize", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    policy = ro.policies.LinearFeedback(np.ones((1, 2)))
    exported = export_numpy(policy, np.zeros(2), tmp_path)
    assert agreement(exported, policy, np.ones((3, 2)), np.arange(3.0))[0] == 0


def test_every_policy_is_exported_or_refused():
    abstract = {"StatefulPolicy", "OpenLoop", "TimeVaryingPolicy", "FourierReference"}
    abstract |= {"StochasticPolicy", "EntropyPolicy", "NetworkSettings"}
    abstract |= {"Normal", "TanhNormal", "NormalMixture", "Categorical"}
    refused = {"SampleActions", "ActionNoise", "ObservationNoise"}
    # Exported in tests/policies/test_motion_control.py.
    refused |= {"PID", "CartesianImpedance", "ComputedTorque", "ErrorFeedback"}
    refused |= {"ControlLaw"}  # as good as the function that it holds
    kinds = {
        name
        for name, kind in vars(policy_kinds).items()
        if isinstance(kind, type) and not name.startswith("_")
    }
    assert kinds - abstract - refused <= set(POLICIES)


def test_a_perceptron_is_a_handful_of_lines(tmp_path):
    network = eqx.nn.MLP(4, 1, 64, 2, jnp.tanh, key=KEY)
    exported = export_numpy(network, np.ones(4), tmp_path)
    text = exported.runner.read_text("utf-8")
    body = text[text.index("in entry {entry}.") :].splitlines()[2:]
    assert [line.strip() for line in body] == [
        "x1 = np.tanh(self.layers_0_weight @ observation + self.layers_0_bias)",
        "x2 = np.tanh(self.layers_1_weight @ x1 + self.layers_1_bias)",
        "return np.array(self.layers_2_weight @ x2 + self.layers_2_bias, "
        "dtype=np.float64)",
    ]
    with np.load(exported.arrays, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["layers_0_weight"], network.layers[0].weight)


def test_constants_are_computed_and_unused_operations_removed(tmp_path):
    def policy(observation):
        jnp.linalg.svd(jnp.outer(observation, observation))
        return jnp.exp(jnp.log(jnp.full(2, 3.0))) * observation[:2].astype(float)

    exported = export_numpy(policy, np.ones(2), tmp_path)
    assert "np.exp" not in exported.runner.read_text("utf-8")
    with np.load(exported.arrays) as file:
        assert file.files == ["fingerprint"]


FUNCTIONS = {
    "activations": lambda x: sum(
        f(x)
        for f in (
            *(jax.nn.elu, jax.nn.relu, jax.nn.silu, jax.nn.softplus, jax.nn.gelu),
            *(jax.nn.leaky_relu, jax.nn.mish, jax.nn.relu6, jax.nn.sigmoid),
            *(jax.nn.softmax, jax.nn.log_softmax, eqx.nn.LayerNorm(4)),
        )
    ),
    "indexing": lambda x: x[jnp.argmax(x)] + x[::2] - x[1:3] + x[jnp.array([3, 0])],
    "a dynamic row": lambda x: jnp.outer(x, x)[jnp.argmax(x)],
    "a dynamic slice": lambda x: lax.dynamic_slice(x, (jnp.argmax(x),), (2,)),
    "setting": lambda x: x.at[1].set(0.0).at[jnp.array([0, 2])].set(x[:2]),
    "branches": lambda x: lax.cond(x[0] > 0, lambda y: y, lambda y: -y * x, x),
    "switch": lambda x: lax.switch(
        jnp.argmax(x), [lambda y: y, lambda y: -y, lambda y: y * 2, lambda y: y * y], x
    ),
    "a scan": lambda x: lax.scan(
        lambda c, y: ((c[0] + y, c[0] * y), None), (0.0, x[0]), x
    )[0][1],
    "a loop that swaps": lambda x: lax.fori_loop(
        0, 3, lambda i, c: (c[1], c[0]), (x, 2 * x)
    )[0],
    "logic": lambda x: (x > 0) & (x < 1) | ~(x < -1) ^ (x > 2),
    "reductions": lambda x: jnp.max(x) - jnp.min(x) + jnp.prod(x) + jnp.std(x),
    "products": lambda x: (
        jnp.einsum("bi,bi->b", jnp.stack([x, x * 2]), jnp.stack([x[::-1], x + 1]))
        @ jnp.outer(x[:2], x)
    ),
    "shapes": lambda x: jnp.concatenate(
        [
            jnp.tile(x, 2),
            jnp.stack([x, -x]).T.ravel(),
            x[:, None][1],
        ]
    ),
    "powers": lambda x: jnp.abs(x) ** 1.7 + x**2 - x**3 + jnp.abs(x) ** -2,
    "clipping": lambda x: jnp.clip(x, -0.3, 0.4) + lax.clamp(x - 1, x[::-1], x + 1),
    "infinities": lambda x: jnp.where(x > 0, -jnp.inf, x / 0.0),
    "integers": lambda x: jnp.argmax(x) * 3 + jnp.round(x).astype(int),
    "angles": lambda x: jnp.arctan2(jnp.sin(x), jnp.cos(x)) % 2.0,
    "a gradient": lambda x: jax.grad(lambda y: jnp.sum(jnp.sin(y) ** 2))(x),
    "a constant": lambda x: jnp.arange(3.0) * 2,
    "chance with a known key": lambda x: x + jax.random.normal(jax.random.key(0), (4,)),
}


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
def test_the_table_agrees_with_jax(double, tmp_path):
    for name, function in FUNCTIONS.items():
        with jax.enable_x64(double):
            exported = export_numpy(function, np.ones(4), tmp_path)
            found: dict = {"__file__": str(exported.runner)}
            exec(exported.runner.read_text("utf-8"), found)
            policy, compiled = found["Policy"](), jax.jit(function)
            for seen in np.random.default_rng(0).standard_normal((5, 4)):
                expected = np.asarray(compiled(jnp.asarray(seen)))
                action = policy(seen)
                assert action.dtype == expected.dtype, name
                error = 1e-11 if double else 1e-4
                np.testing.assert_allclose(
                    action, expected, rtol=error, atol=error, err_msg=name
                )


def test_nothing_is_read_that_could_run(tmp_path):
    exported = export_numpy(plain, np.ones(4), tmp_path)
    text = exported.runner.read_text("utf-8")
    assert imported(exported) == ["policy", "pathlib", "numpy"]
    assert not re.search(r"\b(eval|exec|pickle|compile|__import__)\b\s*\(", text)
    assert "allow_pickle=False" in text


def run(code, folder):
    code = (
        f"import os, sys; os.chdir({str(folder)!r}); sys.path.insert(0, '.')\n"
        "from policy import Policy\n" + code
    )
    command = [sys.executable, "-I", "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_lines_of_the_docstring_work(tmp_path):
    exported = export_numpy(Integrator(jnp.full(2, 0.5)), np.ones(2), tmp_path)
    text = exported.runner.read_text("utf-8")
    lines = [line[4:] for line in text.splitlines()[2:8] if line.startswith("    ")]
    # 0.5·(1 + 1) + 0.25, and after a reset 0.5·1 + 0.25
    code = "\n".join(
        [
            "observation, time = [1.0, 1.0], 0.25",
            *lines,
            "print(policy(observation, time).tolist())",
            "policy.reset()",
            "print(policy(observation, time).tolist())",
        ]
    )
    done = run(code, tmp_path)
    assert done.stdout.splitlines() == ["[1.25, 1.25]", "[0.75, 0.75]"], done.stderr


def test_a_plan_needs_no_observation(tmp_path):
    plan = ro.policies.OpenLoopSpline(np.array([[0.0], [4.0]]), 2.0)
    export_numpy(plan, np.ones(2), tmp_path)
    # Between two knots the slopes are half their distance: 2 at s = 1/2 by symmetry.
    done = run("print(Policy()(None, 1.0))", tmp_path)
    assert done.stdout == "[2.]\n", done.stderr


def test_the_module_says_what_is_wrong_and_is_replaced(tmp_path):
    export_numpy(lambda o: 2 * o, np.ones(4), tmp_path)
    export_numpy(lambda o: 3 * o, np.ones(4), tmp_path / "other.npz")
    refused = run("Policy()([1.0])", tmp_path).stderr
    assert "ValueError: `observation` must have shape (4,), got (1,)" in refused
    refused = run("Policy('other.npz')", tmp_path).stderr
    assert "ValueError: `path` must be the file that was exported with" in refused
    table = jnp.array([4, 5, 6], jnp.int32)
    export_numpy(lambda o: table[o], np.array([0]), tmp_path)
    done = run("p = Policy(); a = p([2]); print(a, a.dtype); p([0.5])", tmp_path)
    assert done.stdout == "[6] int32\n", done.stderr
    assert "Cannot cast" in done.stderr


class Chancy:
    def __call__(self, observation):
        return observation

    def sample(self, observation, key):
        return observation


class Growing(ro.policies.StatefulPolicy):
    def init(self, key):
        return jnp.zeros(1)

    def __call__(self, carry, observation, time):
        return jnp.concatenate([carry, observation]), jnp.asarray(observation)


def randomly(observation):
    key = jax.random.key(jnp.argmax(observation))
    return jax.random.normal(key, (2,))


REFUSED = {
    "SampleActions": (ro.policies.SampleActions(Chancy()), "without chance|key"),
    "ActionNoise": (ro.policies.ActionNoise(Chancy(), 0.1), "without chance|key"),
    "inside": (
        ro.policies.ObservationHistory(ro.policies.SampleActions(Chancy()), 2, 4),
        "without chance|key",
    ),
    "random": (randomly, "without chance, got `.*(random|threefry)"),
    "sorting": (jnp.sort, "`sort`.*use ONNX"),
    "a long scan": (
        lambda o: lax.fori_loop(0, 1000, lambda i, c: c * 0.9, o),
        "`scan`.*use ONNX",
    ),
    "fft": (lambda o: jnp.fft.fft(o).real, "`fft`.*use ONNX"),
    "eigenvalues": (
        lambda o: jnp.linalg.eigvalsh(jnp.outer(o, o)),
        "`eigh`.*use ONNX",
    ),
    "a solve": (
        lambda o: jnp.linalg.solve(jnp.outer(o, o) + jnp.eye(4), o),
        "use ONNX",
    ),
    "a while": (
        lambda o: lax.while_loop(lambda c: jnp.sum(c) < 100, lambda c: c * 2, 1 + o**2),
        "`while`.*use ONNX",
    ),
    "integer division": (
        lambda o: lax.div(o.astype(int), jnp.full(4, 2)),
        "`div`.*use ONNX",
    ),
    "two": (lambda o: (o, o), "must return one array"),
    "growing": (Growing(), "same shapes and types"),
    "no policy": (3.0, "`policy` must be callable, got float"),
    "half": (
        lambda o: o.astype(jnp.bfloat16) * jnp.arange(4.0).astype(jnp.bfloat16),
        "bfloat16",
    ),
}


def test_other_policies_are_refused_and_leave_nothing(tmp_path):
    for policy, match in REFUSED.values():
        with pytest.raises(ro.RobooptError, match=match):
            export_numpy(policy, np.ones(4), tmp_path)
        assert not list(tmp_path.iterdir())
    for observation in ({"a": np.ones(2)}, "text", KEY):
        with pytest.raises(ro.RobooptError, match="`observation` must be"):
            export_numpy(plain, observation, tmp_path)


def test_the_module_has_a_name_of_its_own(tmp_path):
    for name in ("a b.npz", "class.npz", "numpy.npz", "json.npz"):
        with pytest.raises(ro.RobooptError, match="`path` must be a module's name"):
            export_numpy(plain, np.ones(4), tmp_path / name)
    (tmp_path / "policy.py").write_text("mine = 1\n")
    with pytest.raises(ro.RobooptError, match="`path` must not replace a module"):
        export_numpy(plain, np.ones(4), tmp_path)
    assert (tmp_path / "policy.py").read_text() == "mine = 1\n"


def test_the_size_of_an_observation_is_told():
    silent = {"a stateful policy of the user", "a function", "a partial"}
    silent |= {"OpenLoopSpline", "ClippedOpenLoop", "ClippedStatefulPolicy"}
    for name, (make, size) in POLICIES.items():
        # Linear feedback reads the first four of six.
        expected = 4 if name == "LinearFeedback" else size
        told = observation_size(make())
        assert told == (None if name in silent else expected), name


def test_the_limits_of_a_clipped_policy_have_their_own_names(tmp_path):
    # The scale of the network's outputs may hold the same numbers as a limit.
    gains = ro.policies.LinearFeedback(jnp.array([[10.0, 3.0], [2.0, 1.0]]))
    high = jnp.array([10.0, 3.0])
    policy = ro.policies.Clipped(gains, -high, high)
    policy = eqx.tree_at(lambda p: p.policy.gains, policy, jnp.stack([high, high]))
    exported = export_numpy(policy, np.zeros(2), tmp_path)
    text = exported.runner.read_text("utf-8")
    assert "self.high" in text and "self.low" in text
    strong = 100.0 * np.random.default_rng(0).standard_normal((20, 2))
    difference, largest = agreement(exported, policy, strong, np.arange(20.0))
    assert difference < 1e-12 and largest == 10.0


def test_an_observation_that_is_not_finite_is_refused_by_entry(tmp_path, monkeypatch):
    gains = ro.policies.LinearFeedback(np.ones((2, 4)))
    policy = ro.policies.ObservationHistory(
        ro.policies.LinearFeedback(np.ones((2, 8))), 2, 4
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    export_numpy(gains, np.zeros(4), tmp_path / "plain.npz")
    export_numpy(policy, np.zeros(4), tmp_path / "remembers.npz")
    plain = __import__("plain").Policy()
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"finite, got {value} in entry 2"):
            plain(np.array([0.0, 1.0, value, 3.0]))
    # The memory is as before: the next action is that of an episode without the fault.
    faulty, other = (__import__("remembers").Policy() for _ in range(2))
    first, second = np.arange(4.0), np.ones(4)
    assert (faulty(first) == other(first)).all()
    with pytest.raises(ValueError, match="entry 0"):
        faulty(np.full(4, np.nan))
    assert (faulty(second) == other(second)).all()
