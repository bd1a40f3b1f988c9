"""A stable policy ends at its goal from everywhere, for all weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro

GOAL = np.array([0.3, -0.2])
STEP_S = 0.02


def handwriting(seed, count=5, steps=150):
    """Return drawn strokes like LASA's: a bow and a hook that end at one point."""
    rng = np.random.default_rng(seed)
    bow, hook = rng.normal(size=2), rng.normal(size=2)
    start, strokes = GOAL + [-3.0, 1.5], []
    for _ in range(count):
        begin = start + 0.15 * rng.normal(size=2)
        s = np.linspace(0, 1, steps + 1)
        s = (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None]
        path = begin + s * (GOAL - begin)
        path = path + bow * np.sin(np.pi * s) + hook * np.sin(2 * np.pi * s) * (1 - s)
        velocity = np.diff(path, axis=0) / STEP_S
        strokes.append(ro.data.Trajectory(path, velocity, STEP_S))
    return strokes


def rolled(policy, starts, steps, velocities=True):
    def step(x, _):
        a = policy(x)
        return (x + STEP_S * a if velocities else a), x

    return jax.jit(jax.vmap(lambda x: jax.lax.scan(step, x, None, steps)[0]))(
        jnp.asarray(starts)
    )


def with_weights(seed, gain):
    """Return a policy with random weights, as no training would leave it."""
    samples = ro.data.Demonstrations.from_trajectories(handwriting(seed))
    made = ro.policies.StablePolicy.of(
        samples, key=jax.random.key(seed), goal=GOAL, time_step=STEP_S, width=16
    )
    params, fixed, static = ro.optimize.partition(made)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    drawn = [jnp.asarray(gain * rng.normal(size=x.shape)) for x in leaves]
    return eqx.combine(jax.tree.unflatten(tree, drawn), fixed, static)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.1, 0.5])
def test_the_distance_in_the_bent_space_falls_for_any_weights(gain):
    policy = with_weights(0, gain)
    starts = GOAL + np.random.default_rng(1).uniform(-5, 5, size=(50, 2))

    def distance(x):
        return jnp.linalg.norm(policy.bend(x) - policy.bend(policy.goal()))

    for x in starts:
        after = x + STEP_S * policy(jnp.asarray(x))
        assert distance(after) < distance(jnp.asarray(x)) * (1 - 1e-6)
    np.testing.assert_allclose(policy(jnp.asarray(GOAL)), 0.0, atol=1e-9)


# Three of five strokes are learned from, and the one held out starts beside them all.
@pytest.mark.parametrize(
    ("count", "depth", "share"),
    [(5, 1, 0.8), (12, 2, 0.5)],
)
@pytest.mark.slow
def test_taught_strokes_end_at_their_goal_from_far_away(count, depth, share):
    shape = {"width": 32, "depth": depth}
    made = ro.clone(handwriting(3, count), policy="stable", steps=1500, **shape)
    starts = GOAL + np.random.default_rng(2).uniform(-10, 10, size=(30, 2))
    ends = rolled(made.policy, starts, 20_000)
    np.testing.assert_allclose(ends, np.broadcast_to(GOAL, ends.shape), atol=1e-3)
    assert "stable" in made.description["policy"]
    assert made.errors["clone"] < share * made.errors["linear"]


def test_next_positions_are_told_from_velocities():
    strokes = handwriting(4)
    positions = [
        ro.data.Trajectory(e.observations, e.observations[1:], STEP_S) for e in strokes
    ]
    for episodes, velocities in ((strokes, True), (positions, False)):
        samples = ro.data.Demonstrations.from_trajectories(episodes)
        made = ro.policies.StablePolicy.of(
            samples, key=jax.random.key(0), goal=GOAL, time_step=STEP_S, width=8
        )
        assert made.velocities is velocities
        ends = rolled(made, GOAL + np.eye(2), 5000, velocities)
        np.testing.assert_allclose(ends, np.broadcast_to(GOAL, ends.shape), atol=1e-4)


def test_one_axis_and_bad_sizes():
    line = np.linspace(2.0, 1.0, 50)[:, None]
    made = ro.policies.StablePolicy.of(
        (line[:-1], np.diff(line, axis=0) / STEP_S),
        key=jax.random.key(0), goal=[1.0], time_step=STEP_S,
    )  # fmt: skip
    assert made.layers == () and float(made(jnp.array([3.0]))[0]) < 0
    with pytest.raises(ro.RobooptError, match="`samples`"):
        ro.policies.StablePolicy.of(
            (line[:-1], np.zeros((49, 2))),
            key=jax.random.key(0), goal=[1.0], time_step=STEP_S,
        )  # fmt: skip
