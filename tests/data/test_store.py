"""Saving and loading: what comes back, and what a file cannot do."""

import dataclasses
import functools
import json
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from roboopt_envs.arm import ArmReach

import roboopt as ro


@pytest.fixture
def file(tmp_path):
    return tmp_path / "saved.npz"


def schema_of(path):
    with np.load(path) as arrays:
        return json.loads(str(arrays["schema"]))


def rewrite(path, tree=None, **changed):
    """Write the file again with another schema or other arrays."""
    with np.load(path) as arrays:
        held = {name: arrays[name] for name in arrays.files} | changed
    if tree is not None:
        held["schema"] = np.array(json.dumps({"format": 1, "tree": tree}))
    np.savez(path, **held)


def test_a_controller_comes_back_in_one_line_in_another_process(tmp_path):
    env = ArmReach("two-link")
    twin = ro.Twin.from_env(env)
    controller = ro.policies.PDGravityCompensation.from_limits(
        twin.robot, env.effort_limits, env.time_step
    )
    path = tmp_path / "controller.npz"
    ro.save(path, controller)
    observation = env.sample_starts(1, seed=0)[0]
    program = (
        "import jax; jax.config.update('jax_enable_x64', True); import sys, numpy\n"
        "import roboopt\n"
        "controller = roboopt.load(sys.argv[1])\n"
        "print(*[float(x).hex() for x in controller(numpy.array(eval(sys.argv[2])))])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(path), str(observation.tolist())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    np.testing.assert_allclose(
        [float.fromhex(x) for x in said],
        controller(jnp.asarray(observation)),
        rtol=1e-14,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["controller.npz"]
    env.close()


def test_trees_of_everything_survive(file):
    network = ro.policies.MLPPolicy.bounded(
        np.ones(3), np.ones(1), key=jax.random.key(0), width=4
    )
    tree = {
        "network": network,
        "list": [1, 2.5, None, True, "text", (np.float32(3.0), jnp.arange(3))],
        "infinite": float("inf"),
        "functions": (jax.nn.relu, jnp.tanh, optax.l2_loss, jax.nn.silu),
        "half": jnp.ones(2, jnp.bfloat16),
        "key": jax.random.key(3),
        "frozen": ro.Frozen(jnp.ones(2)),
        "named": ro.dynamics.Gaussian(jnp.zeros(2), jnp.ones(2)),
    }
    ro.save(file, tree)
    loaded = ro.load(file)
    assert eqx.tree_equal(loaded["network"], network)
    np.testing.assert_array_equal(loaded["network"](jnp.ones(3)), network(jnp.ones(3)))
    assert loaded["list"][:5] == tree["list"][:5] and loaded["infinite"] == float("inf")
    assert isinstance(loaded["list"][5], tuple)
    assert loaded["functions"] == tree["functions"]
    assert loaded["half"].dtype == jnp.bfloat16
    assert jax.random.uniform(loaded["key"]) == jax.random.uniform(tree["key"])
    assert type(loaded["named"]) is ro.dynamics.Gaussian
    assert eqx.tree_equal(loaded["frozen"], tree["frozen"])


def test_partial_functions_survive(file):
    tree = [
        functools.partial(jnp.clip, min=0.0),
        jax.tree_util.Partial(jnp.maximum, jnp.ones(2)),
    ]
    ro.save(file, tree)
    clipped, maximum = ro.load(file)
    assert isinstance(clipped, functools.partial) and clipped(-1.0) == 0.0
    assert isinstance(maximum, jax.tree_util.Partial)
    np.testing.assert_array_equal(maximum(jnp.array([0.0, 3.0])), [1.0, 3.0])


def test_the_default_perceptron_of_equinox_survives(file):
    network = eqx.nn.MLP(3, 2, 8, 2, key=jax.random.key(0))
    ro.save(file, network)
    np.testing.assert_array_equal(ro.load(file)(jnp.ones(3)), network(jnp.ones(3)))


def test_nobody_is_told_to_unpickle_a_file(file):
    file.write_text("hello")
    with pytest.raises(ro.RobooptError, match="it holds no arrays of NumPy") as raised:
        ro.load(file)
    assert "pickle" not in str(raised.value)


def test_a_batch_of_models_survives(file):
    # Its arrays have an axis more than the class checks.
    batch = jax.vmap(ro.policies.LinearFeedback)(jnp.ones((5, 1, 4)), jnp.ones((5, 4)))
    ro.save(file, batch)
    assert eqx.tree_equal(ro.load(file), batch)


def test_a_folder_is_the_result_in_it(tmp_path):
    ro.save(tmp_path / "result.npz", ro.policies.LinearFeedback(np.ones((1, 4))))
    assert isinstance(ro.load(tmp_path), ro.policies.LinearFeedback)


class Mine(eqx.Module):
    gain: jax.Array
    shape: object = eqx.field(static=True, default=None)

    def __call__(self, observation):
        return self.gain * observation


@dataclasses.dataclass(frozen=True)
class Record:
    policy: object
    formula = "x²"
    tolerances = {0: [(-1.0, 1.0)]}


def double(x):
    return 2 * x


def test_a_class_of_the_user_must_be_allowed(file):
    ro.save(file, Record(Mine(jnp.ones(2), double)))
    with pytest.raises(ro.RobooptError, match=r"Record.*not a class.*allow=\[Record\]"):
        ro.load(file)
    with pytest.raises(ro.RobooptError, match=r"double.*`load\(path, allow=\[double\]"):
        ro.load(file, allow=[Record, Mine])
    loaded = ro.load(file, allow=[Record, Mine, double])
    assert loaded.policy.shape is double
    np.testing.assert_array_equal(loaded.policy(jnp.ones(2)), jnp.ones(2))
    with pytest.raises(ro.RobooptError, match="`allow`"):
        ro.load(file, allow=["os:system"])


def test_a_result_is_shown_without_the_classes_of_the_user(file):
    ro.save(
        file, [ro.policies.Clipped(Mine(jnp.ones(2), double), -1.0, 1.0), Record(3)]
    )
    (policy, record), missing = ro.data.load_to_show(file)
    assert missing.replace(f"{__name__}:", "") == "double, Mine, Record"
    np.testing.assert_array_equal(policy.policy.gain, np.ones(2))
    assert "Mine(" in repr(policy) and record.policy == 3
    assert record.formula == "x²" and record.tolerances == Record.tolerances
    assert not hasattr(record, "success")
    with pytest.raises(ro.RobooptError, match="`allow` must hold Mine"):
        policy(jnp.ones(2))
    both = ro.data.load_to_show(file, [Record, Mine, double])
    assert both[0][1] == Record(3) and both[1] == ""


@pytest.mark.parametrize(
    "wrong", [{"__class__": 1}, {"class": 1}, {"gain": {"indices": {"x": 1}}}]
)
def test_a_stand_in_takes_no_other_names_than_fields(file, wrong):
    ro.save(file, Record(0))
    rewrite(file, {"class": "x:Y", "fields": wrong, "attributes": {"dict": wrong}})
    try:
        found, _ = ro.data.load_to_show(file)
    except ro.RobooptError as error:
        assert "`path`" in str(error)
    else:
        assert type(found).__name__ == "Y" and not vars(found)


def foreign_policies():
    flax = pytest.importorskip("flax")
    haiku = pytest.importorskip("haiku")

    def linen(seed):
        module = flax.linen.Dense(2)
        params = module.init(jax.random.key(seed), jnp.ones(3))
        return jax.tree_util.Partial(module.apply, params)

    def of_nnx(seed):
        from flax import nnx

        return nnx.Linear(3, 2, rngs=nnx.Rngs(seed))

    def of_haiku(seed):
        made = haiku.without_apply_rng(haiku.transform(lambda x: haiku.Linear(2)(x)))
        params = made.init(jax.random.key(seed), jnp.ones(3))
        return jax.tree_util.Partial(made.apply, params)

    def with_lambda(seed):
        weights = jax.random.normal(jax.random.key(seed), (3, 2))
        return jax.tree_util.Partial(lambda w, x: x @ w, weights)

    return {"linen": linen, "nnx": of_nnx, "haiku": of_haiku, "lambda": with_lambda}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["linen", "nnx", "haiku", "lambda"])
def test_a_policy_of_another_library_loads_like_one_in_memory(name, file):
    make = foreign_policies()[name]
    policy, other = make(0), make(1)
    ro.save(file, {"policy": policy, "step": 3})
    with pytest.raises(ro.RobooptError, match="like="):
        ro.load(file)
    loaded = ro.load(file, like={"policy": other, "step": 0})["policy"]
    np.testing.assert_array_equal(loaded(jnp.ones(3)), policy(jnp.ones(3)))
    assert not np.array_equal(other(jnp.ones(3)), policy(jnp.ones(3)))
    for wrong in (Mine(jnp.ones(2)), jnp.ones(3), None):
        with pytest.raises(ro.RobooptError, match="like"):
            ro.load(file, like={"policy": wrong, "step": 0})


def test_like_must_have_the_same_shapes(file):
    ro.save(file, jax.tree_util.Partial(lambda w, x: w @ x, jnp.ones((2, 3))))
    other = jax.tree_util.Partial(lambda w, x: w @ x, jnp.ones((2, 4)))
    with pytest.raises(ro.RobooptError, match="`like`"):
        ro.load(file, like=other)


@pytest.mark.parametrize("part", [{1}, object(), b"bytes", np.array(["text"])])
def test_what_is_no_data_is_refused_and_leaves_nothing(part, tmp_path):
    with pytest.raises(ro.RobooptError, match=r"tree\[0\] is"):
        ro.save(tmp_path / "x.npz", [part])
    assert list(tmp_path.iterdir()) == []


def linear(**fields):
    return {"class": "policies.LinearFeedback", "fields": fields}


ARRAY = {"array": "array0", "shape": [1, 4], "dtype": "float64", "jax": True}
ATTACKS = {
    "a function": {"function": "os:system"},
    "a builtin": {"function": "builtins:eval"},
    "an attribute": {"function": "jax.nn.__builtins__"},
    "a class": {"class": "subprocess:Popen", "fields": {"args": "true"}},
    "a class by dots": {"class": "antigravity.Popen", "fields": {}},
    "a module of roboopt": {"class": "cli.Main", "fields": {}},
    "no record": {"class": "data.save", "fields": {}},
    "another's class": {"class": "policies.RobooptError", "fields": {}},
    "a partial of data": {
        "class": "functools.partial",
        "fields": {"func": 3, "args": {"tuple": []}, "keywords": {"dict": {}}},
    },
    "a partial of a stranger": {
        "class": "functools.partial",
        "fields": {
            "func": {"function": "os:system"},
            "args": {"tuple": ["true"]},
            "keywords": {"dict": {}},
        },
    },
    "a partial of nothing": {"class": "functools.partial", "fields": {}},
    "a foreign one": {"foreign": "os:system", "leaves": {}},
    "no kind": {"pickle": "gASV"},
    "a bare list": [1, 2],
    "a number": {"float": "many"},
    "an array that is not there": {**ARRAY, "array": "array7"},
    "the schema as an array": {**ARRAY, "array": "schema"},
    "a shape": {**ARRAY, "shape": [4, 1]},
    "a type": {**ARRAY, "dtype": "float32"},
    "a key": {**ARRAY, "key": "threefry2x32"},
    "no fields": linear(),
    "a field of another kind": linear(gains="text"),
    "a field of another shape": linear(gains={**ARRAY, "array": "array1"}),
    "an unknown field": linear(gains=ARRAY, __class__="text"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_builds_nothing_else(name, file):
    ro.save(file, ro.policies.LinearFeedback(np.ones((1, 4))))
    tree = ATTACKS[name]
    rewrite(file, tree, array0=np.ones((1, 4)), array1=np.array(1.0))
    with pytest.raises(ro.RobooptError):
        ro.load(file)


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{",
        '{"format": 1}',
        '{"format": 1}}',
        "[]",
        '{"format": 2, "tree": null}',
        "[" * 100000,
    ],
)
def test_a_broken_schema_is_refused(schema, file):
    ro.save(file, 1.0)
    rewrite(file, schema=np.array(schema))
    with pytest.raises(ro.RobooptError, match="`path`"):
        ro.load(file)


def test_foreign_and_broken_files_are_refused(file):
    with pytest.raises(ro.RobooptError, match="`path`.*missing"):
        ro.load(file)
    np.savez(file, a=np.ones(3))
    with pytest.raises(
        ro.RobooptError, match=r"`path` must be a file of `roboopt.save`"
    ):
        ro.load(file)
    ro.save(file, np.arange(1000.0))
    whole = file.read_bytes()
    for content in (whole[:-200], whole[: len(whole) // 2], b"", b"PK\x03\x04no"):
        file.write_bytes(content)
        with pytest.raises(ro.RobooptError, match="`path`"):
            ro.load(file)
    rewritten = bytearray(whole)
    rewritten[600] ^= 255
    file.write_bytes(rewritten)
    with pytest.raises(ro.RobooptError, match="`path`"):
        ro.load(file)


def test_pickles_are_refused(file):
    ro.save(file, ro.policies.LinearFeedback(np.ones((1, 4))))
    with np.load(file) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    np.savez(file, **{**held, "array0": np.array([print], object)})
    with pytest.raises(ro.RobooptError, match="`path`"):
        ro.load(file)


def test_nothing_is_imported_because_a_file_names_it(tmp_path):
    names = ["antigravity:x", "this:s", "roboopt.cli._main:main", "__main__:spy"]
    for k, name in enumerate(names):
        path = tmp_path / f"{k}.npz"
        ro.save(path, 1)
        rewrite(path, {"function": name})
        ro.save(tmp_path / f"{k}c.npz", 1)
        rewrite(tmp_path / f"{k}c.npz", {"class": name, "fields": {}})
    program = (
        "import sys, pathlib, roboopt\n"
        "roboopt.load\n"
        "before = set(sys.modules)\n"
        "spy = print\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        roboopt.load(path)\n"
        "    except roboopt.RobooptError:\n"
        "        print('refused')\n"
        "new = set(sys.modules) - before\n"
        "print(*{n for n in ('antigravity', 'this', 'roboopt.cli') if n in new})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["refused"] * 8, done.stdout + done.stderr


def test_every_public_record_is_in_the_table():
    from roboopt.data._schema import class_name, is_record, known_class

    kinds = [
        kind
        for space in (ro.policies, ro.dynamics, ro.objectives, ro.losses, ro.report)
        for kind in vars(space).values()
        if isinstance(kind, type) and is_record(kind)
    ]
    assert len(kinds) > 40
    assert all(known_class(class_name(kind)) is kind for kind in kinds)


def test_the_schema_names_the_public_class(file):
    ro.save(file, ro.policies.LinearFeedback(np.ones((1, 4))))
    assert schema_of(file)["tree"]["class"] == "policies.LinearFeedback"


class Plain:
    """A user's object, which no file can hold."""

    def __repr__(self):
        return "Plain(3)"


def test_what_a_file_cannot_hold_is_saved_as_its_text(tmp_path):
    path = tmp_path / "x.npz"
    tree = {"good": jnp.ones(2), "mine": Plain(), "list": [Plain(), 1.5]}
    with pytest.raises(ro.RobooptError, match="Plain"):
        ro.save(path, tree)
    with pytest.warns(UserWarning, match=r"mine.*list"):
        ro.data.save(path, tree, partly=True)
    loaded = ro.load(path)
    np.testing.assert_array_equal(loaded["good"], 1.0)
    assert loaded["mine"].description == "Plain(3)" and loaded["list"][1] == 1.5
