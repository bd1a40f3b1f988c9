"""Task costs and successes: by hand, in NumPy and in JAX."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.tasks import Balance, Hold, Reach, SwingUp, ToolChain

from roboopt import RobooptError

from .test_tool_chain import CRANE

BALANCE = Balance(
    position_scale=0.5,
    angle_scale=0.1,
    speed_scale=2.0,
    angular_speed_scale=4.0,
    force_scale=5.0,
)
SWING_UP = SwingUp(
    position_scale=0.5,
    angle_scale=0.5,
    speed_scale=2.0,
    angular_speed_scale=4.0,
    force_scale=5.0,
)
REACH = Reach(CRANE, (0.5, 1.0, 2.0), (1.0, 2.0, 4.0), tool_scale=0.2)
HOLD = Hold((1.0, -0.5), (0.5, 0.2), (2.0, 1.0), (10.0,))
HOLD_ZERO = dataclasses.replace(HOLD, target=(0.0, 0.0))
CASES = [(BALANCE, 4, 1), (SWING_UP, 4, 1), (REACH, 9, 3), (HOLD_ZERO, 4, 1)]
cases = pytest.mark.parametrize("task, observed, driven", CASES)


def test_balance_by_hand():
    # (1/0.5)² + (0.3/0.1)² + (−2/2)² + (8/4)² + (10/5)² = 4 + 9 + 1 + 4 + 4 = 22.
    rate = BALANCE.cost_rate(np.array([1.0, 0.3, -2.0, 8.0]), np.array([10.0]))
    np.testing.assert_allclose(rate, 22.0, rtol=1e-14)


def test_balance_is_quadratic():
    # A quadratic form obeys the parallelogram law, whatever its matrix.
    random = np.random.default_rng(0)
    (x, y), (u, v) = random.normal(size=(2, 4)), random.normal(size=(2, 1))
    both = BALANCE.cost_rate(x + y, u + v) + BALANCE.cost_rate(x - y, u - v)
    each = 2 * (BALANCE.cost_rate(x, u) + BALANCE.cost_rate(y, v))
    np.testing.assert_allclose(both, each, rtol=1e-13)


def test_hold_by_hand():
    # (1/0.5)² + (0.4/0.2)² + (−4/2)² + (3/1)² + (20/10)² = 4 + 4 + 4 + 9 + 4 = 25.
    rate = HOLD.cost_rate(np.array([2.0, -0.1, -4.0, 3.0]), np.array([20.0]))
    np.testing.assert_allclose(rate, 25.0, rtol=1e-14)


def test_hold_succeeds_where_all_joints_end_near_the_target():
    # Within 0.25 of each scale, 0.125 and 0.05, for the last second.
    there = np.tile([1.0, -0.5, 0.0, 0.0], (300, 1))
    assert HOLD.success(there, 0.01)
    for joint, near, far in ((0, 0.12, 0.13), (1, 0.049, 0.051)):
        for offset, expected in ((near, True), (far, False)):
            off = there.copy()
            off[250, joint] += offset
            assert bool(HOLD.success(off, 0.01)) is expected
    early = there.copy()
    early[:190] += 1.0
    assert HOLD.success(early, 0.01)


def test_hold_needs_numbers_that_fit():
    with pytest.raises(RobooptError, match="`target` must be finite and have"):
        Hold((1.0,), (0.5, 0.2), (2.0, 1.0), (10.0,))
    with pytest.raises(RobooptError, match="`position_scale` must be positive"):
        dataclasses.replace(HOLD, position_scale=(0.0, 1.0))
    with pytest.raises(RobooptError, match="`observation` and `action` must hold"):
        HOLD.cost_rate(np.zeros(6), np.zeros(1))


def test_swing_up_by_hand():
    # At θ = π/2: 2·(1 − 0)/0.5² = 8; the rest as above without the angle: 4+1+4+4.
    observation = np.array([1.0, np.pi / 2, -2.0, 8.0])
    rate = SWING_UP.cost_rate(observation, np.array([10.0]))
    np.testing.assert_allclose(rate, 21.0, rtol=1e-14)


def test_swing_up_is_blind_to_turns_bounded_and_quadratic_near_upright():
    def rate(angle):
        return SWING_UP.cost_rate(np.array([0.0, angle, 0.0, 0.0]), np.zeros(1))

    np.testing.assert_allclose(rate(0.3 + 6 * np.pi), rate(0.3), rtol=1e-13)
    np.testing.assert_allclose(rate(np.pi), 4 / 0.5**2, rtol=1e-14)
    # 1 − cos would cancel to 0 here.
    np.testing.assert_allclose(rate(1e-9), (1e-9 / 0.5) ** 2, rtol=1e-14)


def test_formulas_name_the_scales_of_joints():
    hold = Hold((0.0, 0.0), (0.5, 0.2), (2.0, 2.0), (10.0,))
    scales = "s = (0.5, 0.2) [rad or m], v = 2 [rad/s or m/s], e = 10 [N·m or N]"
    assert hold.formula.endswith(f"with the joints' scales {scales}")
    scales = "s = (0.5, 1, 2) [rad or m], v = (1, 2, 4) [rad/s or m/s]"
    assert REACH.formula.endswith(f"with the joints' scales {scales}")


def test_reach_by_hand():
    # The crane with its mast at 0 has its tool at (0.5 + q0, 0, 1.25). Errors: joints
    # 0.4/0.5, −1/1 and 0/2; speeds 0.5/1, 0, −2/4; the tool is 0.4 m off: log(1 + 2²).
    q, velocity, goal = [0.3, 1.0, 0.0], [0.5, 0.0, -2.0], [-0.1, 2.0, 0.0]
    rate = REACH.cost_rate(np.array(q + velocity + goal), np.ones(3))
    np.testing.assert_allclose(rate, 0.64 + 1 + 0.25 + 0.25 + np.log(5.0), rtol=1e-13)


@cases
def test_numpy_and_jax_agree_on_batches(task, observed, driven):
    random = np.random.default_rng(0)
    observations = random.normal(size=(2, 6, observed))
    actions = random.normal(size=(2, 6, driven))
    rates = task.cost_rate(observations, actions)
    assert rates.shape == (2, 6)
    jitted = jax.jit(lambda task, *arrays: task.cost_rate(*arrays), static_argnums=0)
    in_jax = jitted(task, jnp.asarray(observations), jnp.asarray(actions))
    np.testing.assert_allclose(in_jax, rates, rtol=1e-12)
    one = task.cost_rate(observations[1, 2], actions[1, 2])
    np.testing.assert_allclose(one, rates[1, 2], rtol=1e-15)
    small = 0.02 * observations
    successes = task.success(small, 0.1)
    assert successes.shape == (2,) and successes.dtype == bool
    in_jax = jax.jit(lambda o: task.success(o, 0.1))(jnp.asarray(small))
    np.testing.assert_array_equal(in_jax, successes)


@cases
def test_gradient_vanishes_at_the_goal_and_curvature_does_not(task, observed, driven):
    at = jnp.zeros(observed), jnp.zeros(driven)
    assert task.cost_rate(*at) == 0.0
    gradients = jax.jit(jax.grad(task.cost_rate, argnums=(0, 1)))(*at)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)
    curvature = np.diag(jax.jit(jax.hessian(task.cost_rate))(*at))
    assert (curvature > 0).all()


def held(observation, steps):
    return np.tile(np.array(observation, float), (steps + 1, 1))


@cases
def test_the_tolerances_are_those_of_success(task, observed, driven):
    steps = round(task.window / 0.1) + 1
    assert task.success(held(np.zeros(observed), steps), 0.1)
    for axis, intervals in task.tolerances.items():
        for low, high in intervals:
            for share, inside in ((0.999, True), (1.001, False)):
                for side in (-share, share):
                    seen = np.zeros(observed)
                    seen[axis] = (low + high + side * (high - low)) / 2
                    assert bool(task.success(held(seen, steps), 0.1)) is inside


def test_success_of_balance():
    # 3 s at 0.1 s: of 31 observations the last 11 are the last second.
    task, good = Balance(), held([0.1, -0.05, 9.0, 9.0], 30)
    assert task.success(good, 0.1)
    for column, value, first in ((0, 0.11, 20), (1, 0.051, 20), (1, -0.051, 30)):
        late, early = good.copy(), good.copy()
        late[first, column], early[19, column] = value, value
        assert not task.success(late, 0.1)
        assert task.success(early, 0.1)
    off_rail = good.copy()
    off_rail[0, 0] = -2.41
    assert not task.success(off_rail, 0.1)
    assert not task.success(np.full((31, 4), np.nan), 0.1)


def test_success_of_swing_up():
    # Once around, and 0.19 rad off upright.
    good = held([0.5, 2 * np.pi + 0.19, -0.5, 1.0], 30)
    task = SwingUp()
    assert task.success(good, 0.1)
    for column, value in ((0, -0.51), (1, 2 * np.pi + 0.21), (2, 0.51), (3, -1.1)):
        late, early = good.copy(), good.copy()
        late[20, column], early[19, column] = value, value
        assert not task.success(late, 0.1)
        assert task.success(early, 0.1)
    off_rail = good.copy()
    off_rail[0, 0] = 2.41
    assert not task.success(off_rail, 0.1)
    assert not task.success(np.full((31, 4), np.nan), 0.1)


def test_success_of_reach():
    # The tool 9.9 mm off, every joint at the largest speed; 1 s at 0.05 s: the last
    # three of 21 observations are the last 0.1 s.
    good = held([0.3099, 5.0, 0.0, 0.1, -0.1, 0.1, 0.3, 1.0, 0.0], 20)
    task = Reach(CRANE, (1.0,) * 3, (1.0,) * 3)
    assert task.success(good, 0.05)
    for column, value in ((0, 0.3101), (3, -0.101), (5, 0.101)):
        late, early = good.copy(), good.copy()
        late[18, column], early[17, column] = value, value
        assert not task.success(late, 0.05)
        assert task.success(early, 0.05)
    assert not task.success(np.full((21, 9), np.nan), 0.05)


def test_success_of_an_episode_shorter_than_the_window():
    assert Balance().success(held([0.0, 0.0, 0.0, 0.0], 3), 0.1)
    assert not Balance().success(held([0.0, 0.1, 0.0, 0.0], 3), 0.1)


@cases
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_fields_are_refused(task, observed, driven, value):
    for field in dataclasses.fields(task):
        old = getattr(task, field.name)
        if isinstance(old, ToolChain) or field.name == "target":
            continue
        new = (*old[:-1], value) if isinstance(old, tuple) else value
        with pytest.raises(ValueError, match=f"`{field.name}` must be positive"):
            dataclasses.replace(task, **{field.name: new})


def test_more_than_half_a_turn_is_refused():
    with pytest.raises(ValueError, match="`angle_tolerance` must be at most π"):
        SwingUp(angle_tolerance=3.2)


def test_scales_of_another_robot_are_refused():
    with pytest.raises(ValueError, match="must hold one value for each joint"):
        Reach(CRANE, (1.0, 1.0, 1.0), (1.0, 1.0))
    with pytest.raises(ValueError, match="more than 2, got 2 and 2"):
        Reach(CRANE, (1.0, 1.0), (1.0, 1.0))


@pytest.mark.parametrize("task", [BALANCE, SWING_UP])
def test_what_no_cart_pole_observes_is_refused(task):
    with pytest.raises(ValueError, match="`observation` and `action` must hold"):
        task.cost_rate(np.zeros(5), np.zeros(1))
    with pytest.raises(ValueError, match="`observation` and `action` must hold"):
        task.cost_rate(np.zeros((3, 4)), np.zeros((3, 2)))


def test_what_no_arm_observes_is_refused():
    with pytest.raises(ValueError, match="`observation` must hold q, q̇ and goal of 3"):
        REACH.cost_rate(np.zeros(8), np.zeros(3))
    with pytest.raises(ValueError, match="`observation` must hold"):
        REACH.success(np.zeros((4, 8)), 0.1)
