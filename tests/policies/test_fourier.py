"""Fourier references: their derivatives, their limits, and their start at rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dynamics.hand_robots import write_pendulum, write_slider

import roboopt as ro
from roboopt.policies import FourierReference


def reference(**changes):
    settings = {
        "offset": np.zeros(1),
        "sine": np.array([[2.0, -1.0]]),
        "cosine": np.zeros((1, 2)),
        "lower": np.array([-1.0]),
        "upper": np.array([3.0]),
        "period": 2 * np.pi,
    } | changes
    return FourierReference(**settings)


def test_motion_by_hand():
    # With ω = 1, α = (2, −1) has α₁ + 2 α₂ = 0 already, and T = 3. At t = π/2,
    # s = 2, ṡ = 2·cos(π/2) − 2·cos(π) = 2 and s̈ = −2 + 4·sin(π) = −2, times
    # h/√(1 + T²) = 2/√10, about m = 1. The 1e-6 of √ROUND counts as an offset.
    q, velocity, acceleration = reference()(np.pi / 2)
    scale = 2 / np.sqrt(10)
    np.testing.assert_allclose(
        [q[0] - 1, velocity[0], acceleration[0]],
        [2 * scale, 2 * scale, -2 * scale],
        rtol=1e-6,
    )


def test_derivatives_are_those_of_the_position(tmp_path):
    robot = ro.load_urdf(write_pendulum(tmp_path / "p.urdf"))
    motion = FourierReference.random(robot, 3.0, 4, jax.random.key(1))
    first = jax.jacfwd(lambda t: motion(t)[0])
    derivatives = jax.jit(lambda t: (first(t), jax.jacfwd(first)(t)))
    for time in jnp.array([0.0, 0.4, 2.9]):
        np.testing.assert_allclose(motion(time)[1:], derivatives(time), atol=1e-12)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_any_numbers_stay_within_the_limits_and_start_at_rest(size):
    drawn = size * np.random.default_rng(0).normal(size=(3, 11))
    motion = FourierReference(
        drawn[:, 0],
        drawn[:, 1:6],
        drawn[:, 6:],
        lower=np.array([-1.0, 0.0, 2.0]),
        upper=np.array([1.0, 0.04, 2.0]),
        period=5.0,
    )
    q, velocity, acceleration = jax.jit(jax.vmap(motion))(jnp.linspace(0, 5, 1001))
    low, high = np.array([motion.lower]), np.array([motion.upper])
    assert ((low <= q) & (q <= high)).all()
    # The third joint is locked. Rounding is of the speeds, up to 6 rad/s.
    np.testing.assert_array_equal(q[:, 2], 2.0)
    np.testing.assert_allclose(velocity[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(acceleration[0], 0.0, atol=1e-11)
    np.testing.assert_allclose(q[0], q[-1], atol=1e-12)


def test_ranges_come_from_the_limits(tmp_path):
    def ends(path):
        motion = FourierReference.random(
            ro.load_urdf(path), 3.0, 2, jax.random.key(0), range_share=0.9
        )
        # The part of the range that T lets it fill is as asked.
        reach = motion._series()[-1]
        np.testing.assert_allclose(reach / jnp.sqrt(1 + reach**2), 0.9, rtol=1e-5)
        return motion.lower + motion.upper

    free = write_pendulum(tmp_path / "free.urdf")
    assert ends(free) == (-np.pi / 2, np.pi / 2)
    wide = '<limit lower="-7" upper="7" effort="1" velocity="1"/>'
    turns = write_pendulum(tmp_path / "wide.urdf", kind="revolute", more=wide)
    assert ends(turns) == (-np.pi / 2, np.pi / 2)
    # 5 % of 2 m are left at each end.
    slider = write_slider(tmp_path / "slider.urdf")
    np.testing.assert_allclose(ends(slider), (-0.9, 0.9))
    endless = '<limit lower="-999999" upper="999999"/>'
    assert ends(write_slider(tmp_path / "endless.urdf", more=endless)) == (-1, 1)


BAD = [
    ({"cosine": np.zeros((1, 3))}, "`sine` and `cosine` must have shape"),
    ({"sine": np.ones((1, 1)), "cosine": np.ones((1, 1))}, "`harmonics` must be at"),
    ({"lower": np.array([4.0])}, "`lower` and `upper` must be finite"),
    ({"upper": np.array([np.inf])}, "`lower` and `upper` must be finite"),
    ({"period": 0.0}, "`period` must be positive"),
]


@pytest.mark.parametrize("changes, match", BAD)
def test_bad_input_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        reference(**changes)


def test_bad_draws_are_refused(tmp_path):
    robot = ro.load_urdf(write_pendulum(tmp_path / "p.urdf"))
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="`harmonics` must be at least 2"):
        FourierReference.random(robot, 3.0, 1, key)
    with pytest.raises(ValueError, match="`period` must be positive"):
        FourierReference.random(robot, np.inf, 2, key)
    with pytest.raises(ValueError, match="`range_share` must be between 0 and 1"):
        FourierReference.random(robot, 3.0, 2, key, range_share=1.0)
