"""Samples and starts shared by several devices, and by two processes.

Programs of their own: the number of devices of a process is set before JAX starts.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import roboopt as ro

FOLDER = Path(__file__).parents[1]
SETTINGS = {
    "all samples": {},
    "minibatches": {"optimizer": optax.adam(0.01), "batch_size": 64},
    "validated": {"batch_size": 64, "validation": None},
    "noted": {"gradient": ro.gradients.Automatic(), "batch_size": 64},
}
ALL = *SETTINGS, "starts", "PPO", "SHAC"
FEW = "all samples", "validated", "starts", "PPO"
"""Of each way to share one: the others have minibatches and environments, too."""
HEAD = """
import gc, json, sys
gc.set_threshold(50_000)  # as the command does
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import roboopt as ro
"""
EIGHT = f"""{HEAD}
sys.path.insert(0, sys.argv[1])
from lines import line
from optimize import test_devices as cases
from roboopt.policies import ActorCritic
import gymnasium

devices = jax.devices()
pairs = {{}}

def compare(name, learn):
    found = [learn(None), learn(devices)]
    one, shared = ([np.asarray(x) for x in jax.tree.leaves(r.model)] for r in found)
    away = max(np.abs(a - b).max() for a, b in zip(one, shared, strict=True))
    moved = max(np.abs(a - np.asarray(b)).max() for a, b in zip(one, cases.START[name]))
    pairs[name] = float(away), float(moved), found[0].steps, found[1].steps

chosen = sys.argv[2:]
for name, settings in cases.SETTINGS.items():
    if name in chosen:
        cases.START[name] = [0.0]
        compare(name, lambda ds: cases.cloned(devices=ds, **settings))
cases.START["starts"] = [0.0]
compare("starts", lambda ds: cases.cloned(starts=16, batched=True, devices=ds))
space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
agent = ActorCritic.of(2, space, key=jax.random.key(0), width=8)
collected, ENVS = [], 128

def reinforced(algorithm):
    def learn(ds):
        starts = np.random.default_rng(0).normal(size=(32, 2))
        rollout = line(12)
        envs = ro.rollouts.TwinVectorEnv(rollout, starts, ENVS, devices=ds)
        envs.begin(0)
        collected.append(envs.collect(agent, jax.random.key(1), 6)[0])
        return algorithm.learn(agent, envs, timesteps=ENVS * 6 * 3)
    return learn

for algorithm in (ro.rl.PPO(steps=6, epochs=2, minibatches=4), ro.rl.SHAC(horizon=6)):
    name = type(algorithm).__name__
    if name in chosen:
        cases.START[name] = jax.tree.leaves(agent)
        compare(name, reinforced(algorithm))
first, second = (jax.tree.map(np.asarray, made) for made in collected[:2])
close = jax.tree.map(lambda a, b: np.allclose(a, b, 0, 1e-12), first, second)
texts = []
for call in (
    lambda: cases.cloned(count=511, devices=devices),
    lambda: cases.cloned(batch_size=10, devices=devices),
    lambda: cases.cloned(starts=6, batched=True, devices=devices),
    lambda: ro.rollouts.TwinVectorEnv(line(4), np.ones((1, 2)), 6, devices=devices),
    lambda: ro.minimize(lambda m, _: m**2, 1.0, None, devices=devices),
):
    try:
        call()
    except ro.RobooptError as error:
        texts.append(str(error))
batches = [cases.samples(count) for count in (8, 8, 6)]
ended = ro.minimize(cases.OBJECTIVE, cases.policy(), batches, steps=9, devices=devices)
texts += [ended.reason, ended.steps]
print(json.dumps([len(devices), all(jax.tree.leaves(close)), pairs, texts]))
"""
TWO = f"""{HEAD}
sys.path.insert(0, sys.argv[1])
from optimize import test_devices as cases
rank, address, checkpoint = int(sys.argv[2]), sys.argv[3], sys.argv[4]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, 2, rank)
found = {{}}
for name, settings in cases.SETTINGS.items():
    made = cases.cloned(devices=jax.devices(), checkpoint=checkpoint + name, **settings)
    found[name] = np.asarray(made.model.gains).tolist()
try:
    ro.minimize(cases.OBJECTIVE, cases.policy(), cases.samples(), steps=1,
                devices=jax.local_devices())
except ro.RobooptError as error:
    found["refused"] = str(error)
print(json.dumps([len(jax.devices()), len(jax.local_devices()), found]))
"""
OBJECTIVE = ro.ActionMismatch(scale=1.0)
START: dict[str, list] = {}


def samples(count=512):
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(count, 4))
    return ro.data.Demonstrations(seen, np.tanh(seen @ rng.normal(size=(4, 2))))


def policy(starts=None):
    zero = ro.policies.LinearFeedback(np.zeros((2, 4)))
    if starts is None:
        return zero
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: rng.normal(size=(starts, *x.shape)), zero)


def cloned(starts=None, count=512, **settings):
    data = samples(count)
    if "validation" in settings:
        settings["validation"] = jax.tree.map(lambda x: x[:50], data)
    return ro.minimize(OBJECTIVE, policy(starts), data, steps=30, **settings)


def run(script, *arguments, devices):
    """Start a program with so many devices."""
    count = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(FOLDER), *map(str, arguments)],
        env={**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(program):
    out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture(
    scope="module", params=[FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=len
)
def eight(request):
    pytest.importorskip("gymnasium")
    return request.param, said(run(EIGHT, *request.param, devices=8))


def test_eight_devices_find_what_one_does(eight):
    chosen, (count, same_steps, pairs, _) = eight
    assert count == 8
    assert same_steps
    assert set(pairs) == {*chosen}
    for name, (away, moved, alone, shared) in pairs.items():
        assert alone == shared > 0, name
        assert away < 1e-12, name
        assert moved > 1e-3, name


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = address, tmp_path / "descent-"
    programs = [run(TWO, rank, *arguments, devices=2) for rank in range(2)]
    found = {}
    for everywhere, here, found in map(said, programs):
        assert (everywhere, here) == (4, 2)
        assert "`devices` must hold a device of every process" in found["refused"]
        for name, settings in SETTINGS.items():
            alone = cloned(**settings).model.gains
            np.testing.assert_allclose(found[name], alone, rtol=0, atol=1e-12)
    # What the processes have left off, one continues.
    checkpoint = tmp_path / "descent-minibatches"
    again = cloned(checkpoint=checkpoint, **SETTINGS["minibatches"])
    np.testing.assert_array_equal(again.model.gains, found["minibatches"])


@pytest.mark.parametrize("count", [0, 2])
def test_no_device_and_one_device_twice_are_refused(count):
    with pytest.raises(ro.RobooptError, match="`devices` must be a list of different"):
        cloned(devices=jax.devices()[:1] * count)


def test_uneven_shares_are_refused_in_words(eight):
    _, (*_, texts) = eight
    for text, name, rest in zip(
        texts, ("data", "batch_size", "model", "envs"), (7, 2, 6, 6), strict=False
    ):
        assert text.startswith(f"`{name}` must hold a number of")
        assert f"leave out {rest}" in text
    assert texts[4].startswith("`data` must hold samples")
    # What was learned until then is kept.
    assert texts[5:] == ["source", 1]
