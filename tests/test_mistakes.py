"""A user's mistakes are refused by name, without the tests' checks of types."""

import subprocess
import sys

PROGRAM = r"""
import os, sys
os.environ["JAX_ENABLE_X64"] = "1"
import jax.numpy as jnp
import numpy as np
import roboopt as ro
from roboopt_envs.cart_pole import URDF, Actuators, Balance

os.chdir(sys.argv[1])
robot = ro.load_urdf(URDF)
twin = ro.Twin(robot, 0.01, actuated=(0,))
rollout = ro.Rollout(twin, 2)
motors, task = Actuators((1.0, 1.0), (1.0, 1.0)), Balance()
policy = ro.policies.LinearFeedback([[1.0, 2.0]])
assert policy([1.0, 2.0]).shape == (1,) and twin([0.0] * 4, [0.0]).shape == (4,)
ro.save("saved.npz", policy)
open("broken.npz", "w").write("text")
open("broken.csv", "wb").write(bytes(range(256)))


def fit(objective=lambda m, b: jnp.mean((m - b) ** 2), data=np.ones(2), **settings):
    ro.minimize(objective, jnp.zeros(2), data, **{"steps": 2, **settings})


def cost(rollout=rollout, task=task, motors=motors, **weights):
    ro.EnergyTaskCost(rollout, task, motors, **weights)


def motion(observations=np.zeros((3, 2)), actions=np.zeros((2, 1))):
    ro.Trajectory(observations=observations, actions=actions, time_step=0.1)


def square(model, batch):
    return jnp.sum(model**2)


class Plain(ro.Objective):
    def terms(self, model, batch):
        return {"miss": square(model, batch)}


MISTAKES = {
    "bounds": [
        lambda: fit(bounds=ro.Bound(lambda m: m, 0.0, 1.0)),
        lambda: fit(bounds=(-10.0, 10.0)),
    ],
    "gradient": [lambda: fit(gradient="zeroth-order")],
    "seconds": [lambda: fit(seconds="3"), lambda: ro.tune(seconds="3")],
    "steps": [lambda: fit(steps="3"), lambda: ro.tune(steps="abc")],
    "patience": [lambda: fit(patience=1.5)],
    "data": [lambda: fit(data=[[1.0, 2.0], [3.0, 4.0]])],
    "objective": [
        lambda: fit(lambda m, b: m - b),
        lambda: fit(lambda m, b: None),
        lambda: ro.explain(3.0, jnp.ones(2), None),
        lambda: ro.explain(lambda m: m, 1.0, None),
        lambda: ro.check_gradient(lambda m, b, c: m, 1.0, None),
        lambda: fit(lambda m: jnp.sum(m)),
        lambda: ro.check_gradient(3.0, jnp.ones(2), None),
    ],
    "trainable": [lambda: fit(trainable="a")],
    "seed": [lambda: ro.check_gradient(square, jnp.ones(2), None, seed="a")],
    "unit": [lambda: ro.Term(jnp.ones(()), "J", 0.1)],
    "terms": [lambda: Plain()(jnp.ones(2), None)],
    "checkpoint": [
        lambda: fit(checkpoint="no/x.npz"),
        lambda: fit(checkpoint="broken.npz"),
        lambda: fit(checkpoint=3),
    ],
    "robot": [lambda: ro.Twin(URDF, 0.01)],
    "time_step": [lambda: ro.Twin(robot, "0.01")],
    "effort_limits": [lambda: ro.Twin(robot, 0.01, effort_limits="a")],
    "state": [lambda: twin(np.zeros(3), np.zeros(1))],
    "action": [lambda: twin(np.zeros(4), np.zeros(2))],
    "dynamics": [lambda: ro.Rollout(robot, 5)],
    "horizon": [lambda: ro.Rollout(twin, 2.5)],
    "rollout": [lambda: cost(twin)],
    "task": [lambda: cost(task="reach"), lambda: cost(task=None)],
    "actuators": [lambda: cost(motors=None)],
    "task_weight": [lambda: cost(task_weight="a")],
    "observations": [lambda: motion([[0.0, 0.0]] * 3)],
    "actions": [lambda: motion(actions=np.zeros(2))],
    "path": [
        lambda: ro.load(3),
        lambda: ro.save(policy, "x.npz"),
        lambda: ro.save("no/x.npz", policy),
        lambda: ro.load_urdf("no.urdf"),
        lambda: ro.data.load_recordings("broken.csv"),
    ],
    "scale": [
        lambda: ro.ActionMismatch(scale="std"),
        lambda: ro.PredictionError(scale="std"),
    ],
    "allow": [lambda: ro.load("saved.npz", allow=ro.Twin)],
    "gains": [lambda: ro.policies.LinearFeedback([[np.nan, 1.0]])],
}

for argument, calls in MISTAKES.items():
    for number, call in enumerate(calls):
        try:
            call()
        except ro.RobooptError as error:
            if f"`{argument}` must" not in str(error):
                print(argument, number, error)
        except Exception as error:
            print(argument, number, repr(error))
        else:
            print(argument, number, "accepted")
"""


def test_mistakes_are_refused_by_name(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
