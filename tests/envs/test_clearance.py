"""Starts and goals that touch neither the floor nor the robot."""

import warnings
from pathlib import Path

import numpy as np
import pybullet_data
import pytest
from roboopt_envs.arm import ArmReach

from .urdfs import INERTIA


def shape(size: str, origin: str = "0 0 0") -> str:
    return (
        f'<collision><origin xyz="{origin}"/><geometry><box size="{size}"/></geometry>'
        "</collision>"
    )


def swing(base: str, *, height: float = 0.3) -> str:
    """Return two links of 0.4 m and 0.2 m that swing about y at a height."""
    inertial = f'<inertial><mass value="1"/>{INERTIA}</inertial>'
    limit = '<limit lower="-3" upper="3" effort="90"/>'
    return f"""<robot name="swing">
    <link name="base">{base}</link>
    <link name="upper">{inertial}{shape("0.4 0.02 0.02", "0.2 0 0")}</link>
    <link name="lower">{inertial}{shape("0.36 0.02 0.02", "0.22 0 0")}</link>
    <joint name="a" type="revolute"><origin xyz="0 0 {height}"/>
      <parent link="base"/><child link="upper"/><axis xyz="0 1 0"/>{limit}</joint>
    <joint name="b" type="revolute"><origin xyz="0.4 0 0"/>
      <parent link="upper"/><child link="lower"/><axis xyz="0 1 0"/>{limit}</joint>
    </robot>"""


def lowest(configurations: np.ndarray) -> np.ndarray:
    """Return the height of the lower end of the lower link's middle line [m]."""
    a, both = configurations[:, 0], configurations.sum(axis=1)
    elbow = 0.3 - 0.4 * np.sin(a)
    return np.minimum(elbow, elbow - 0.4 * np.sin(both))


def configurations(env: ArmReach, count: int = 300) -> np.ndarray:
    starts = env.sample_starts(count, seed=0)
    return np.concatenate([starts[:, :2], starts[:, 4:]])


def test_nothing_is_drawn_below_the_lowest_point_of_the_base(write):
    env = ArmReach(write(swing(shape("0.1 0.1 0.2", "0 0.3 0.1"))))
    # The base stands on z = 0; the links are 1 cm thick to each side.
    heights = lowest(configurations(env))
    assert heights.min() > 0.0 and (heights < 0.05).any()
    # Draws are reproducible, and leave the robot where it was.
    np.testing.assert_array_equal(configurations(env), configurations(env))


def test_a_base_without_shapes_has_no_floor(write):
    assert lowest(configurations(ArmReach(write(swing(""))))).min() < -0.3


def test_the_two_link_swings_below_its_shoulder():
    starts = ArmReach().sample_starts(300, seed=0)
    assert (np.abs(starts[:, 0]) > 1.2).any()


def test_nothing_is_drawn_where_the_lower_link_is_in_the_base(write):
    # A post where only the lower link reaches: 0.5 to 0.7 m before the shoulder.
    post = shape("0.2 0.2 0.2", "0.6 0 0.3")
    env, free = ArmReach(write(swing(post))), ArmReach(write(swing("")))

    def inside(q: np.ndarray) -> np.ndarray:
        both = q.sum(axis=1)
        ahead = 0.4 * np.cos(q[:, 0]) + 0.4 * np.cos(both)
        below = 0.4 * np.sin(q[:, 0]) + 0.4 * np.sin(both)
        return (np.abs(ahead - 0.6) < 0.09) & (np.abs(below) < 0.09)

    assert inside(configurations(free, 1000)).any()
    assert not inside(configurations(env, 1000)).any()


def test_shapes_that_always_overlap_do_not_count(write):
    # A block on the lower link that reaches back over the shoulder into the base.
    block = shape("3 3 3")
    text = swing(shape("0.1 0.1 0.1", "0 0 0.3")).replace(
        '<link name="lower">', f'<link name="lower">{block}'
    )
    env = ArmReach(write(text))
    starts = env.sample_starts(100, seed=0)
    assert np.ptp(starts[:, 0]) > 1.0


def test_a_robot_that_hardly_ever_stands_free_is_warned_of():
    # A quadruped with its trunk fixed: its legs reach below the trunk.
    path = Path(pybullet_data.getDataPath()) / "a1" / "a1.urdf"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", ".* in nearly every configuration")
        with pytest.raises(UserWarning, match="starts and goals are drawn without"):
            ArmReach(path)
        warnings.simplefilter("ignore")
        assert len(ArmReach(path).sample_starts(10, seed=0)) == 10


def test_where_links_overlap_is_said(write):
    # q = 0 stretches the arm out level; at (π/2, 0) it points 0.8 m down from 0.3 m.
    env = ArmReach(write(swing(shape("0.1 0.1 0.2", "0 0.3 0.1"))))
    found = env.touches(np.array([[0.0, 0.0], [np.pi / 2, 0.0]]))
    assert found.tolist() == [False, True]
