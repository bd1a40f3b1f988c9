from types import SimpleNamespace

import numpy as np
import pytest
from roboopt_envs.tasks import Actuators, Balance

from roboopt import EnergyTaskCost, Trajectory
from roboopt.cli._comparison import change, compare, number
from roboopt.cli._judge import Runs, disagreement, peak_efforts, state_units

CART_POLE = np.array([False, True])


def motion(x, force):
    """Return two motions of a cart-pole at rest at `x`, one of them pushed."""
    observations = np.zeros((2, 301, 4))
    observations[..., 0] = x
    actions = np.zeros((2, 300, 1))
    actions[1] = force
    efforts = np.concatenate([actions, 0 * actions], -1)
    return Trajectory(observations, actions, 0.01, efforts=efforts)


@pytest.fixture
def recipe():
    robot = SimpleNamespace(
        revolute=(False, True),
        lower=np.array([-1.0, 1.0]),
        upper=np.array([1.0, -1.0]),  # none
    )
    twin = SimpleNamespace(robot=robot, joint_limits=False)
    actuators = Actuators((2.0, 1.0), (1.0, 1.0))
    objective = EnergyTaskCost(None, Balance(), actuators, joule_weight=0.5)
    env = SimpleNamespace(actuated=(0,))
    return SimpleNamespace(twin=twin, objective=objective, env=env)


def test_the_table_by_hand(recipe):
    # At x = 0.5 m, one scale, the cost rate is 1 over 3 s; a force of 2 N adds
    # (2/10)² in one of two motions: 3·(1 + 0.04/2) = 3.06 s. Its Joule loss is
    # R F² · 3 s = 2·4·3 = 24 J in one of two, and the objective 3.06 + 0.5·12.
    # At x = 0 and no force all is zero, and both succeed.
    before, after = motion(0.5, 2.0), motion(0.0, 0.0)
    found = compare(
        recipe, {"before": Runs(before, before), "after": Runs(after, after)}
    )
    values = {row.name: row.values for row in found.rows}
    expected = {
        "objective": 9.06,
        "task cost": 3.06,
        "mechanical work": 0.0,
        "Joule loss": 12.0,
        "peak force": 2.0,
    }
    assert list(values) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(values[name]["pybullet", "before"], value)
        assert values[name]["twin", "after"] == 0
    assert found.successes["pybullet", "before"] == 0
    assert found.successes["pybullet", "after"] == 2
    assert found.telling == 0
    assert found.table()[0] == ["objective", "9.06", "0", "−100.0 %", "9.06", "0"]
    assert found.table()[-1] == ["success [of 2 starts]", "0", "2", "+2", "0", "2"]
    said = " ".join(found.verdict())
    assert said.startswith("Improved: the objective fell from 9.06 to 0")
    assert "succeeds from 2 of 2 random starts" in said and "agree:" in said


def test_what_did_not_improve_is_said(recipe):
    better, worse = motion(0.0, 0.0), motion(0.5, 0.0)
    found = compare(
        recipe, {"before": Runs(better, better), "after": Runs(worse, worse)}
    )
    assert found.verdict()[0].startswith("Not improved: the objective was 0 and is 3")


def test_disagreement_and_its_cause_are_said(recipe):
    # PyBullet holds the cart at its limit of 1 m, the twin lets it pass to 1.5 m.
    stopped, free = motion(1.0 + 1e-9, 0.0), motion(1.5, 0.0)
    runs = Runs(twin=free, pybullet=stopped)
    assert disagreement(runs, CART_POLE) == pytest.approx(
        {"m": 0.5, "rad": 0.0, "m/s": 0.0, "rad/s": 0.0}
    )
    found = compare(recipe, {"before": runs, "after": runs})
    said = " ".join(found.verdict())
    assert "do not agree" in said and "0.5 m" in said
    assert "In 4 of the 4 motions a joint meets its limit" in said
    assert found.telling is None and found.filmed == 0


def test_units_and_peaks_are_told_apart():
    assert state_units(CART_POLE) == ["m", "rad", "m/s", "rad/s"]
    observations, actions = np.zeros((1, 3, 4)), np.zeros((1, 2, 2))
    efforts = np.array([[[1.0, -5.0], [-3.0, 2.0]]])
    moved = Trajectory(observations, actions, 0.1, efforts=efforts)
    assert peak_efforts(moved, CART_POLE, [0, 1]) == {"N": 3.0, "N·m": 5.0}
    assert peak_efforts(moved, CART_POLE, [1]) == {"N·m": 5.0}


@pytest.mark.parametrize(
    "before, after, said",
    [
        (2.0, 1.0, "−50.0 %"),
        (2.0, 3.0, "+50.0 %"),
        (1.0, 20.0, "×20"),
        (0.0, 1.0, "–"),
        (1.0, np.nan, "–"),
    ],
)
def test_changes_are_said_as_they_are_read(before, after, said):
    assert change(before, after) == said


def test_numbers_have_four_digits():
    assert number(0.123456) == "0.1235"
