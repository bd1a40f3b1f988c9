"""Resets that no array tells are found, and contacts, wraps and steps are none."""

import re

import numpy as np
import pytest

import roboopt as ro
from roboopt.data import Trajectory
from roboopt.diagnose import check_demonstrations

TIME = np.arange(1000) * 0.01


def reaches(count, seed=0):
    """Return positions, velocities and goals of reaches from other starts, at rest."""
    rng, made = np.random.default_rng(seed), []
    s = np.linspace(0, 1, 25)[:, None]
    for _ in range(count):
        start, goal = rng.uniform(-1, 1, (2, 2))
        x = start + (10 * s**3 - 15 * s**4 + 6 * s**5) * (goal - start)
        v = (30 * s**2 - 60 * s**3 + 30 * s**4) * (goal - start)
        made.append(np.concatenate([x, v, np.repeat(goal[None], 25, 0)], 1))
    return made


def jumps(observations):
    run = Trajectory(observations, np.sin(observations[:-1, :1]), 0.01)
    found = check_demonstrations(run)
    return [str(f) for f in found if f.code == "jumping_observations"]


@pytest.mark.parametrize("axes", [slice(None), slice(4), [0, 1]])
def test_resets_that_nothing_tells_are_found(axes):
    seen = np.concatenate(reaches(12))[:, axes]
    (said,) = jumps(seen)
    # Some begin near where the one before has ended.
    assert int(re.findall(r"jump (\d+) times", said)[0]) >= 3
    assert all(int(n) % 25 == 0 for n in re.findall(r"\d+", said.split("steps")[1])[:4])
    assert "`episode_ends`" in said
    assert not any(jumps(one[:, axes]) for one in reaches(12))


def test_clone_tells_of_them_before_the_training():
    seen = np.concatenate(reaches(4))
    with pytest.warns(UserWarning, match="jump 3 times, at steps 25, 50, 75 o"):
        ro.clone((seen, np.sin(seen[:, :2])), policy="linear", steps=2)


def push(seed):
    """Return x, y, their velocities, a switch and a constant of a push to (400, 0)."""
    rng, p, v, rows = np.random.default_rng(seed), np.zeros(2), np.zeros(2), []
    for _ in range(120):
        close = float(np.linalg.norm(p - [400, 0]) < 20)
        rows.append([*p, *v, close, 25.0])
        u = np.clip(2 * (np.array([400.0, 0]) - p) + rng.normal(0, 6, 2), -150, 150)
        v = 0.6 * v + 0.4 * u
        p = p + 0.05 * v
    return np.array(rows)


@pytest.mark.parametrize("seed", range(4))
def test_a_reset_at_which_one_position_jumps_through_its_range_is_found(seed):
    # y and the velocities are near zero at both ends.
    seen = np.concatenate([push(seed), push(seed + 10)])
    (said,) = jumps(seen)
    assert "jump 1 times, at step 120 of" in said
    assert not jumps(push(seed))
    outlier = push(seed)
    outlier[60, 0] = 9000.0
    assert not jumps(outlier)


def ball():
    """Return height, speed and contact force of a ball that bounces."""
    y, v, rows = 1.0, 0.0, []
    for _ in range(600):
        v -= 0.0981
        y, force = y + 0.01 * v, 0.0
        if y < 0:
            y, force, v = 0.0, 100 * abs(v), -0.9 * v
        rows.append([y, v, force])
    return np.array(rows)


def impact():
    """Return positions, and velocities and forces that change at once."""
    sign, noise = np.where(TIME < 5, 1.0, -1.0), 0.01 * np.sin(TIME)
    x = np.where(TIME < 5, TIME, 10 - TIME)
    force = 20.0 * (sign < 0) + noise
    return np.stack([x, 2 * x, sign + noise, 2 * sign + noise, force, 2 * force], 1)


def quaternion():
    sign = np.where(TIME > 5, -1, 1)[:, None]
    turned = np.stack([np.cos(TIME / 5), np.sin(TIME / 5), 0 * TIME + 0.1], 1)
    return np.concatenate([np.stack([np.sin(TIME), np.cos(TIME)], 1), sign * turned], 1)


HONEST = {
    "ball": ball(),
    "impact": impact(),
    "quaternion": quaternion(),
    "wrapped at pi": np.stack(
        [np.angle(np.exp(3j * TIME)), 3 + 0.1 * np.sin(TIME), np.sin(TIME)], 1
    ),
    "wraps while it hardly moves": np.stack(
        [
            (180 + 0.2 * TIME + np.random.default_rng(0).normal(0, 1, 1000)) % 360,
            (360 + 0.2 * TIME + np.random.default_rng(1).normal(0, 1, 1000)) % 360,
        ],
        1,
    ),
    "velocity at impact": impact()[:, [0, 2]],
    "gripper": np.stack([np.sin(TIME), np.cos(TIME), TIME % 4 > 2, TIME > 5], 1),
    "wrapped at 360": np.stack([300 * TIME % 360, (300 * TIME + 1) % 360], 1),
    "quantized": np.round(np.stack([np.sin(TIME), np.cos(TIME), TIME / 9], 1) * 3) / 3,
    "steps": np.stack([TIME // 1, TIME // 2 % 2, TIME > 3.0], 1),
    "setpoints": np.concatenate(
        [
            np.repeat(np.random.default_rng(0).normal(size=(10, 2)), 100, 0),
            np.random.default_rng(1).normal(size=(1000, 2)).cumsum(0) / 100,
        ],
        1,
    ),
    "heavy tails": np.random.default_rng(0).standard_t(3, (1000, 5)),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_jumps_in_honest_data_is_no_reset(name):
    assert not jumps(HONEST[name])
