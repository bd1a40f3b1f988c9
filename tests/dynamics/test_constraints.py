import time

import jax.numpy as jnp
import numpy as np
import pytest
from hand_robots import write_slider

from roboopt.dynamics import PositionMotors, Twin, constraint_row_order, load_urdf


@pytest.fixture
def slider(tmp_path):
    """A block of 2 kg between −1 and 1 m, that nothing slows down."""
    path = write_slider(tmp_path / "slider.urdf")
    return load_urdf(path, linear_damping=0.0, angular_damping=0.0)


def after(robot, q, velocity, *, target=0.0, motors=None, limits=True):
    """Return the velocity after a step of 0.01 s, without effort or with motors."""
    twin = Twin(robot, 0.01, joint_limits=limits, motors=motors)
    return twin(jnp.array([q, velocity]), jnp.array([target]))[1:]


@pytest.mark.parametrize(
    "q, velocity, expected",
    [
        (0.9, 3.0, 3.0),  # not there yet
        (1.02, 3.0, -0.4),  # pushed back: a fifth of 0.02 m within 0.01 s
        (-1.02, -3.0, 0.4),
        (1.02, -3.0, -3.0),  # leaving, and faster than it would be pushed
        (1.05, 3.0, 0.0),  # deeper than 0.04 m: only stopped
        (1.05, 60.0, 10.0),  # 100 N·s take 50 m/s off 2 kg
    ],
)
def test_limits_by_hand(slider, q, velocity, expected):
    np.testing.assert_allclose(after(slider, q, velocity), [expected], atol=1e-12)
    np.testing.assert_allclose(after(slider, q, velocity, limits=False), [velocity])


def test_motors_by_hand(slider):
    # Asked for q̇ + 0.1·(0.5 − 0.2)/0.01 − 0.5 q̇ = 0.5·1 + 3 m/s from 1 m/s: 5 N·s,
    # which 1000 N give within 0.01 s and 200 N do not: 2 N·s, 1 m/s more.
    for force, expected in ((1000.0, 3.5), (200.0, 2.0)):
        motors = PositionMotors([0.1], [0.5], [force])
        velocity = after(slider, 0.2, 1.0, target=0.5, motors=motors, limits=False)
        np.testing.assert_allclose(velocity, [expected], rtol=1e-12)


def test_targets_beyond_a_limit_are_taken_at_it(slider):
    motors = PositionMotors([0.1], [1.0], [1e5])
    beyond = after(slider, 0.2, 0.0, target=7.0, motors=motors)
    np.testing.assert_allclose(beyond, [0.1 * 0.8 / 0.01], rtol=1e-12)


def test_rows_are_in_bullets_order():
    # Bullet's quicksort of three equal keys swaps the outer two, of four all pairs
    # from outside in, and goes on in each half.
    assert constraint_row_order((False,) * 2, (0, 1)) == [("motor", 1), ("motor", 0)]
    assert constraint_row_order((False,) * 3, (0, 1, 2)) == [
        ("motor", 2),
        ("motor", 1),
        ("motor", 0),
    ]
    assert constraint_row_order((True, False), (1,)) == [
        ("motor", 1),
        ("lower", 0),
        ("upper", 0),
    ]
    assert constraint_row_order((True,), ()) == [("lower", 0), ("upper", 0)]


@pytest.mark.parametrize(
    "kp, kd, max_force, match",
    [
        ([0.1], [1.0, 1.0], [1.0], "`kp`, `kd` and `max_force` must each hold one"),
        (0.1, 1.0, 1.0, "`kp`, `kd` and `max_force` must each hold one number"),
        ([-0.1], [1.0], [1.0], r"`kp` must be finite and not negative, got \[-0.1\]"),
        ([0.1], [float("nan")], [1.0], "`kd` must be finite and not negative"),
        ([0.1], [1.0], [0.0], r"`max_force` must be positive, got \[0.0\]"),
    ],
)
def test_bad_motors_are_refused(kp, kd, max_force, match):
    with pytest.raises(ValueError, match=match):
        PositionMotors(kp, kd, max_force)


def test_sixty_joints_compile_in_seconds_and_stop_at_their_limits(tmp_path):
    # Unrolled, the elimination of so many joints takes minutes to compile.
    links = "".join(
        f"<link name='l{i}'><inertial><mass value='1'/><inertia ixx='1' iyy='1' "
        f"izz='1' ixy='0' ixz='0' iyz='0'/></inertial></link><joint name='j{i}' "
        f"type='revolute'><parent link='base'/><child link='l{i}'/><axis xyz='0 0 1'/>"
        "<limit lower='-1' upper='0.1' effort='5'/></joint>"
        for i in range(60)
    )
    path = tmp_path / "robot.urdf"
    path.write_text(f"<robot name='r'><link name='base'/>{links}</robot>")
    twin = Twin(load_urdf(path), 0.01, joint_limits=True)
    began = time.process_time()
    state, effort = jnp.ones(120).at[:60].set(0.0), jnp.zeros(60)
    for _ in range(30):
        state = twin(state, effort)
    assert time.process_time() - began < 60
    # Pushed back: a fifth of a depth of at most 0.01 rad within 0.01 s.
    assert (state[:60] < 0.1).all()
    assert ((-0.2 <= state[60:]) & (state[60:] < 0)).all()
