import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.cart_pole import URDF
from roboopt_envs.tasks import Actuators, Balance

import roboopt as ro
from roboopt import EnergyTaskCost, Trajectory
from roboopt.report import change, number
from roboopt.tuning import compare
from roboopt.tuning._chatter import chatters
from roboopt.tuning._comparison import disagreement, peak_efforts, touching
from roboopt.tuning._joints import Joints

CART_POLE = Joints(
    names=("cart", "pole"),
    revolute=(False, True),
    driven=(0,),
    effort_limits=(10.0,),
    lower=(-1.0, 1.0),
    upper=(1.0, -1.0),  # none
)
OBJECTIVE = EnergyTaskCost(
    None, Balance(), Actuators((2.0, 1.0), (1.0, 1.0)), joule_weight=0.5
)


def motion(x, force):
    """Return two motions of a cart-pole at rest at `x`, one of them pushed."""
    observations = np.zeros((2, 301, 4))
    observations[..., 0] = x
    actions = np.zeros((2, 300, 1))
    actions[1] = force
    efforts = np.concatenate([actions, 0 * actions], -1)
    return Trajectory(observations, actions, 0.01, efforts=efforts)


def compared(before, after, twin_before=None, twin_after=None):
    twin = {"before": twin_before or before, "after": twin_after or after}
    motions = {"PyBullet": {"before": before, "after": after}, "twin": twin}
    return compare(OBJECTIVE, CART_POLE, motions)


def test_the_table_by_hand():
    # At x = 0.5 m, one scale, the cost rate is 1 over 3 s; a force of 2 N adds
    # (2/10)² in one of two motions: 3·(1 + 0.04/2) = 3.06 s. Its Joule loss is
    # R F² · 3 s = 2·4·3 = 24 J in one of two, and the objective 3.06 + 0.5·12.
    # At x = 0 and no force all is zero, and both succeed.
    found = compared(motion(0.5, 2.0), motion(0.0, 0.0))
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
        np.testing.assert_allclose(values[name]["PyBullet"]["before"], value)
        assert values[name]["twin"]["after"] == 0
    assert found.successes["PyBullet"] == {"before": 0, "after": 2}
    assert found.changed and found.filmed == 0
    rows = found.table().rows
    assert rows[0] == ["objective", "9.06", "0", "−100.0 %", "9.06", "0"]
    assert rows[-1][1:] == ["0", "2", "+2", "0", "2"] and "of 2" in rows[-1][0]
    said = found.sentences()
    assert said[0].startswith("Improved") and "9.06" in said[0]
    assert "from 2 of 2" in said[2] and " agree" in said[3]


def test_a_worse_objective_is_said():
    found = compared(motion(0.0, 0.0), motion(0.5, 0.0))
    assert found.sentences()[0].startswith("Not improved: the objective was 0 and is 3")
    assert found.sentences()[1].startswith("Keep the starting controller")


@pytest.mark.parametrize("share", [1e-9, 1e-4, -1e-4])
def test_an_objective_that_stays_is_neither_better_nor_worse(share):
    said = compared(motion(0.5, 0.0), motion(0.5 * (1 - share), 0.0)).sentences()
    assert said[0].startswith("Not improved") and "Keep" not in " ".join(said)
    assert "no better gains" in said[1]


def test_disagreement_and_its_cause_are_said():
    # PyBullet holds the cart at its limit of 1 m, the twin lets it pass to 1.5 m.
    stopped, free = motion(1.0 + 1e-9, 0.0), motion(1.5, 0.0)
    assert disagreement(free, stopped, CART_POLE) == pytest.approx(
        {"m": 0.5, "rad": 0.0, "m/s": 0.0, "rad/s": 0.0}
    )
    found = compared(stopped, stopped, free, free)
    said = " ".join(found.sentences())
    assert "do not agree" in said and "0.5 m" in said
    assert found.at_limits == 4 and "4 of the 4 motions" in said
    assert not found.changed and found.filmed == 0


@pytest.mark.parametrize("share, bad", [(1.5, False), (2.2, True)])
def test_a_controller_that_damps_too_much_for_its_rate_chatters(share, bad):
    # F = −d ẋ in steps h on a cart that feels M multiplies ẋ by about 1 − h d / M.
    twin = ro.Twin(ro.load_urdf(URDF), 1 / 240, implicit_damping=True)
    inertia = 1 / np.linalg.inv(twin.robot.mass_matrix(jnp.zeros(2)))[0, 0]
    state, motion = jnp.array([0.0, 0.0, 0.2, 0.0]), []
    for _ in range(30):
        force = -share * inertia / twin.time_step * state[2:3]
        state = twin(state, force)
        motion.append(state)
    found = jnp.stack([jnp.stack(motion), jnp.zeros((30, 4))])
    assert chatters(found, 2).tolist() == [bad, False]
    assert chatters(np.asarray(found), 2).tolist() == [bad, False]


def test_chatter_and_how_often_simulators_disagree_are_said():
    thrown = motion(0.0, 0.0)
    thrown.observations[1, :40, 2] = np.where(np.arange(40) % 2, 0.3, -0.3)
    found = compared(motion(0.0, 0.0), thrown, None, motion(0.0, 0.0))
    assert found.chattering == 1 and found.apart == 1
    said = " ".join(found.sentences())
    assert "0.3 m/s, 0 rad/s, above 0.0001 in 1 of 2." in said
    assert "In 1 of the 2 motions of the tuned controller a joint chatters" in said


def test_units_and_peaks_are_told_apart():
    assert CART_POLE.state_units == ("m", "rad", "m/s", "rad/s")
    observations, actions = np.zeros((1, 3, 4)), np.zeros((1, 2, 2))
    efforts = np.array([[[1.0, -5.0], [-3.0, 2.0]]])
    moved = Trajectory(observations, actions, 0.1, efforts=efforts)
    both = Joints(("a", "b"), (False, True), (0, 1), (1.0, 1.0), (), ())
    assert peak_efforts(moved, both) == {"N": 3.0, "N·m": 5.0}
    second = Joints(("a", "b"), (False, True), (1,), (1.0,), (), ())
    assert peak_efforts(moved, second) == {"N·m": 5.0}


@pytest.mark.parametrize(
    "before, after, said",
    [
        (2.0, 1.0, "−50.0 %"),
        (2.0, 3.0, "+50.0 %"),
        (1.0, 20.0, "×20"),
        (0.0, 1.0, "–"),
        (1.0, np.nan, "–"),
        (-2.0, -9.206, "+360.3 %"),
        (-2.0, -1.0, "−50.0 %"),
        (-2.0, -30.0, "×15"),
        (-2.0, 1.0, "changes sign"),
        (2.0, -1.0, "changes sign"),
        (-2.0, 0.0, "−100.0 %"),
    ],
)
def test_changes_are_percent_or_times(before, after, said):
    assert change(before, after) == said


def test_numbers_have_four_digits():
    assert number(0.123456) == "0.1235"


def test_motions_that_touch_are_counted_and_said():
    class Arm:
        joint_names = "cart", "pole"

        @property
        def unwrapped(self):
            return self

        def touches(self, configurations):
            return configurations[:, 0] > 0.9

    first = motion(0.5, 0.0)
    x = first.observations.copy()
    x[1, -1, 0] = 1.0
    second = dataclasses.replace(first, observations=x)
    assert touching(Arm(), first) == 0 and touching(Arm(), second) == 1
    found = dataclasses.replace(compared(first, second), touching=1)
    assert "In 1 of the 2 motions of the tuned controller" in found.sentences()[-1]
