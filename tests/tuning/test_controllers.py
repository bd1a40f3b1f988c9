"""Controllers by name, and arms that follow a reference, tuned."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt import RobooptError
from roboopt.policies import PID, ControlLaw
from roboopt.tuning import TuningProblem, run_name, tune
from roboopt.tuning._controllers import CONTROLLERS
from roboopt.tuning._parameters import parameter_table

PATH = {"time": [0.0, 0.1, 0.2], "shoulder": [0.0, 0.1, 0.0], "elbow": [0.3, 0.3, 0.4]}


@pytest.mark.slow
def test_a_stateful_controller_is_tuned_along_a_path(tmp_path):
    tuned = tune("arm", reference=PATH, controller="pid", steps=1, episodes=2, starts=2)
    assert isinstance(tuned.controller.policy, PID) and tuned.comparison is not None
    rows = {row.name: row.values["PyBullet"] for row in tuned.comparison.rows}
    seen = np.asarray(tuned.motions["after"].observations)
    task: Any = tuned.objective.task
    rms = np.sqrt(np.mean(task.tool_error(seen) ** 2))
    name = "tool error, root mean square"
    np.testing.assert_allclose(rows[name]["after"], rms, rtol=1e-12)
    assert max(tuned.comparison.gaps["after"].values()) < 1e-9
    page = tmp_path / "report.html"
    tuned.report(page, video=False)
    assert "integral[elbow] [N·m/s/rad]" in page.read_text()
    assert page.read_text().count('data-key="goal"') == 2  # one a joint


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLLERS)
def test_controllers_by_name_suit_an_arm_at_once(name):
    problem = TuningProblem.of("arm", task="track", controller=name, starts=1)
    assert problem.notes["controller"] == CONTROLLERS[name][0]
    made = problem.rollout(problem.controller, problem.starts)
    velocity = np.asarray(made.observations)[..., 2:4]
    assert np.abs(velocity).max() < 5.0  # 100 rad/s where a loop is unstable
    problem.env.close()


def test_the_regulator_balances_and_others_name_the_robots_they_are_for():
    problem = TuningProblem.of("cart-pole", controller="lqr", starts=1)
    made = problem.rollout(problem.controller, problem.starts)
    assert abs(np.asarray(made.observations)[0, -1, 1]) < 0.01
    with pytest.raises(RobooptError, match="`controller`.*every joint"):
        TuningProblem.of("cart-pole", controller="pid")
    with pytest.raises(RobooptError, match="`controller` must be .* one of pd, pid"):
        TuningProblem.of("arm", controller="pdi")


def law(gains, observation):
    q, velocity, goal = jnp.split(observation, 3)
    return gains["k"] * (goal - q) - gains["d"] * velocity


@pytest.mark.slow
def test_a_law_of_ones_own_is_tuned():
    units = {"k": "N·m/rad", "d": "N·m·s/rad"}
    start = ControlLaw(law, {"k": [20.0, 8.0], "d": 1.0}, units, positive=["d"])
    result = ro.tune(
        "arm",
        controller=start,
        starts=2,
        duration=0.1,
        steps=2,
        episodes=2,
        processes=0,
    )
    explained = result.gradients()["end"]
    assert explained.names == ("gains.k[shoulder]", "gains.k[elbow]", "gains.d")
    assert explained.units == ("N·m/rad", "N·m/rad", "N·m·s/rad")
    assert explained.logarithms == ("gains.d",) and np.all(explained.derivatives[:, -1])
    rows = parameter_table(result.before, result.controller, result.joints).rows
    assert [row[0] for row in rows] == [
        *("gains.k[shoulder] [N·m/rad]", "gains.k[elbow] [N·m/rad]"),
        "gains.d [N·m·s/rad]",
    ]
    assert [float(row[1]) for row in rows] == [20, 8, 1]


def test_a_reference_is_for_tracking():
    assert run_name("arm", "track", None, None, None) == "two-link-track"
    with pytest.raises(RobooptError, match="`reference` is for the task track"):
        TuningProblem.of("arm", task="reach", reference=PATH)
    with pytest.raises(RobooptError, match="`reference` must be a CSV file"):
        ro.tune("arm", reference="nowhere.csv")
