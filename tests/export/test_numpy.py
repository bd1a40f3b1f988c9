"""What is exported does what the policy does, where nothing but NumPy can be had."""

import re
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.cart_pole import URDF

import roboopt as ro
from roboopt import policies as policy_kinds
from roboopt.export import agreement, export_numpy, observation_size
from roboopt.policies import OpenLoop, TimeVaryingPolicy

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
    return jnp.tanh(observation[:2]) * jnp.max(observation) + jnp.sort(observation)[1]


class Integrator(ro.policies.StatefulPolicy):
    """Does the sum of what it saw, and the time: memory by hand."""

    gain: jax.Array

    def begin(self, observation, key):
        return {"sum": jnp.zeros_like(observation)}

    def step(self, memory, observation, time):
        total = memory["sum"] + observation
        return self.gain * total + time, {"sum": total}


# What each is made by, and the size of its observations.
policies = {
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
            ro.policies.MLPPolicy.of(samples(history=3), key=KEY, **SMALL), 3
        ),
        4,
    ),
    "ActionChunking": (
        lambda: ro.policies.ActionChunking(
            ro.policies.MLPPolicy.of(samples(chunk=5), key=KEY, **SMALL)
        ),
        4,
    ),
    "ActionChunking to the end": (
        lambda: ro.policies.ActionChunking(
            ro.policies.MLPPolicy.of(samples(chunk=5), key=KEY, **SMALL), None
        ),
        4,
    ),
    "history of chunks": (
        lambda: ro.policies.ObservationHistory(
            ro.policies.ActionChunking(
                ro.policies.MLPPolicy.of(samples(chunk=5, history=2), key=KEY, **SMALL)
            ),
            2,
        ),
        4,
    ),
    "an actor of one's own": (lambda: Integrator(jnp.full(3, 0.5)), 3),
    "an equinox MLP": (lambda: eqx.nn.MLP(4, 2, 16, 2, jax.nn.gelu, key=KEY), 4),
    "a function": (lambda: plain, 5),
    "a partial": (
        lambda: jax.tree_util.Partial(lambda w, o: w @ o, jnp.ones((2, 3))),
        3,
    ),
}


# Robots' chains are long to compile, and no other way in single precision.
ROBOTS = {"PDGravityCompensation", "EnergyShapingSwingUp", "TrackingController"}
PRECISIONS = [(name, True) for name in policies]
PRECISIONS += [(name, False) for name in policies if name not in ROBOTS]


@pytest.mark.parametrize("name, double", PRECISIONS)
def test_it_agrees_where_jax_cannot_be_imported(name, double, tmp_path):
    make, size = policies[name]
    with jax.enable_x64(double):
        policy = make()
        seen = np.random.default_rng(1).standard_normal((100, size))
        exported = export_numpy(policy, seen[0], tmp_path)
        found = agreement(exported, policy, seen, 0.01 * np.arange(100))
    # XLA's own float32 functions, such as tanh, err by several units in the last place.
    assert found.relative < (1e-6 if double else 1e-5)
    assert found.largest > 0


def test_a_perceptron_is_a_handful_of_lines(tmp_path):
    network = eqx.nn.MLP(4, 1, 64, 2, jnp.tanh, key=KEY)
    exported = export_numpy(network, np.ones(4), tmp_path)
    text = exported.runner.read_text("utf-8")
    body = text[text.index("        )\n", text.index("__call__")) :].splitlines()[1:]
    assert [line.strip() for line in body] == [
        "x1 = np.tanh(self.layers_0_weight @ observation + self.layers_0_bias)",
        "x2 = np.tanh(self.layers_1_weight @ x1 + self.layers_1_bias)",
        "return np.array(self.layers_2_weight @ x2 + self.layers_2_bias, "
        "dtype=np.float64)",
    ]
    with np.load(exported.arrays, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["layers_0_weight"], network.layers[0].weight)


def test_what_is_constant_is_computed_and_what_is_not_needed_is_gone(tmp_path):
    def policy(observation):
        jnp.linalg.svd(jnp.outer(observation, observation))
        return jnp.exp(jnp.log(jnp.full(2, 3.0))) * observation[:2].astype(float)

    exported = export_numpy(policy, np.ones(2), tmp_path)
    assert "np.exp" not in exported.runner.read_text("utf-8")
    with np.load(exported.arrays) as file:
        assert file.files == ["fingerprint"]


def test_nothing_is_read_that_could_run(tmp_path):
    exported = export_numpy(plain, np.ones(4), tmp_path)
    text = exported.runner.read_text("utf-8")
    imports = re.findall(r"^\s*(?:import|from) (\S+)", text, re.M)
    # The first is in the docstring.
    assert imports == ["policy", "pathlib", "numpy"]
    assert not re.search(r"\b(eval|exec|pickle|compile|__import__)\b\s*\(", text)
    assert "allow_pickle=False" in text


def run(code, folder):
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"
    command = [sys.executable, "-I", "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_lines_of_the_docstring_work(tmp_path):
    exported = export_numpy(Integrator(jnp.full(2, 0.5)), np.ones(2), tmp_path)
    text = exported.runner.read_text("utf-8")
    lines = [line[4:] for line in text.splitlines()[2:8] if line.startswith("    ")]
    # 0.5·(1 + 1) + 0.25, and after a reset 0.5·1 + 0.25
    code = "\n".join(
        [
            f"import os; os.chdir({str(tmp_path)!r})",
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
    done = run("import policy; print(policy.Policy()(None, 1.0))", tmp_path)
    assert done.stdout == "[2.]\n", done.stderr


@pytest.mark.parametrize(
    "code, match",
    [
        ("Policy()([1.0])", r"`observation` must have shape \(4,\), got \(1,\)"),
        ("Policy('other.npz')", "`path` must be the file that was exported with this"),
    ],
)
def test_the_runner_says_what_is_wrong(code, match, tmp_path):
    export_numpy(lambda o: 2 * o, np.ones(4), tmp_path)
    export_numpy(lambda o: 3 * o, np.ones(4), tmp_path / "other.npz")
    start = f"import os; os.chdir({str(tmp_path)!r})\nfrom policy import Policy\n"
    assert re.search(match, run(start + code, tmp_path).stderr)


def test_integers_stay_integers(tmp_path):
    table = jnp.array([4, 5, 6], jnp.int32)
    export_numpy(lambda o: table[o], np.array([0]), tmp_path)
    done = run(
        "import policy; p = policy.Policy(); a = p([2]); print(a, a.dtype); p([0.5])",
        tmp_path,
    )
    assert done.stdout == "[6] int32\n"
    assert "Cannot cast" in done.stderr


def test_exporting_again_replaces_it(tmp_path):
    for gain in (2.0, 3.0):
        exported = export_numpy(lambda o, k=gain: k * o, np.ones(1), tmp_path / "p")
    assert sorted(path.name for path in exported.runner.parent.iterdir()) == [
        *("policy.npz", "policy.py")
    ]
    done = run("import policy; print(policy.Policy()([1.0]))", tmp_path / "p")
    assert done.stdout == "[3.]\n"


class Chancy:
    def __call__(self, observation):
        return observation

    def sample(self, observation, key):
        return observation


class Growing(ro.policies.StatefulPolicy):
    def begin(self, observation, key):
        return observation

    def step(self, memory, observation, time):
        return jnp.asarray(observation), jnp.concatenate([memory, observation])


def randomly(observation):
    key = jax.random.key(jnp.argmax(observation))
    return jax.random.normal(key, (2,))


refused = {
    "SampleActions": (
        ro.policies.SampleActions(Chancy()),
        "without chance.*SampleActions.*policy inside",
    ),
    "ActionNoise": (
        ro.policies.ActionNoise(Chancy(), 0.1),
        "without chance.*ActionNoise",
    ),
    "inside": (
        ro.policies.ObservationHistory(ro.policies.SampleActions(Chancy()), 2),
        "without chance.*ObservationHistory",
    ),
    "random": (randomly, "got `.*random|threefry.*`, which has no export: let the pol"),
    "fft": (lambda o: jnp.fft.fft(o).real, "got `fft`.*constant matrix"),
    "eigenvalues": (
        lambda o: jnp.linalg.eigvalsh(jnp.outer(o, o)),
        "got `eigh`.*jnp.linalg.solve",
    ),
    "two": (lambda o: (o, o), "must return one array"),
    "growing": (Growing(), "same shapes and types"),
    "no policy": (3.0, "callable or a `StatefulPolicy`, got a float"),
    "half": (
        lambda o: o.astype(jnp.bfloat16) * jnp.arange(4.0).astype(jnp.bfloat16),
        "types that NumPy has, got .*bfloat16",
    ),
}


@pytest.mark.parametrize("name", refused)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(name, tmp_path):
    policy, match = refused[name]
    with pytest.raises(ValueError, match=match):
        export_numpy(policy, np.ones(4), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("observation", [{"a": np.ones(2)}, "text", KEY])
def test_an_observation_is_an_array(observation, tmp_path):
    with pytest.raises(ValueError, match="`observation` must be"):
        export_numpy(plain, observation, tmp_path)


@pytest.mark.parametrize("name", ["a b.npz", "class.npz", "numpy.npz", "json.npz"])
def test_a_module_needs_a_name_of_its_own(name, tmp_path):
    with pytest.raises(ValueError, match="`path` must end in what a module can be"):
        export_numpy(plain, np.ones(4), tmp_path / name)


def test_a_module_of_the_user_stays(tmp_path):
    (tmp_path / "policy.py").write_text("mine = 1\n")
    with pytest.raises(ValueError, match="`path` must not replace a module"):
        export_numpy(plain, np.ones(4), tmp_path)
    assert (tmp_path / "policy.py").read_text() == "mine = 1\n"


def test_kinds_of_policies_are_all_here():
    # A new class of policy is exported, or said here not to be.
    kinds = [
        getattr(policy_kinds, name)
        for name in vars(policy_kinds)
        if isinstance(getattr(policy_kinds, name), type)
    ]
    abstract = {
        ro.policies.StatefulPolicy,
        OpenLoop,
        TimeVaryingPolicy,
        ro.policies.FourierReference,
        ro.policies.SampleActions,
        ro.policies.ActionNoise,
    }
    classes = {kind for kind in kinds if isinstance(kind, type)} - abstract
    assert {kind.__name__ for kind in classes} <= set(policies)


@pytest.mark.parametrize("name", policies)
def test_the_size_of_an_observation_is_told(name):
    make, size = policies[name]
    told = observation_size(make())
    silent = {"OpenLoopSpline", "an actor of one's own", "a function", "a partial"}
    # Linear feedback reads the first four of six.
    expected = 4 if name == "LinearFeedback" else size
    assert told == (None if name in silent else expected)
