"""Experts beyond the action limits, and clones and exports that keep these."""

import dataclasses
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.export import export_numpy

LIMITS = np.array([1.0, 0.5])
GAINS = np.array([[3.0, 0.0], [0.0, 2.0]])
STEP_S = 0.1


class Point(gymnasium.Env):
    """A point whose velocity is the action."""

    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-LIMITS, LIMITS, dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1, 2)
        return self.x.copy(), {}

    def step(self, action):
        assert (np.abs(action) <= LIMITS).all()
        self.x = self.x + STEP_S * np.asarray(action)
        return self.x.copy(), -float(self.x @ self.x), False, False, {}


def expert(seed=0, count=6):
    """Return episodes of a = −K o, recorded before the actuators clipped it."""
    rng, episodes = np.random.default_rng(seed), []
    for _ in range(count):
        seen = [rng.uniform(-1, 1, 2)]
        for _ in range(30):
            done = np.clip(-GAINS @ seen[-1], -LIMITS, LIMITS)
            seen.append(seen[-1] + STEP_S * done)
        seen = np.array(seen)
        episodes.append(ro.data.Trajectory(seen, -seen[:-1] @ GAINS.T, STEP_S))
    return episodes


def cloned(policy, env: Any = Point, **settings):
    small: dict[str, Any] = {
        "steps": 20,
        "width": 8,
        "depth": 1,
        "max_steps": 20,
        "episodes": 2,
    }
    return ro.clone(expert(), env, policy=policy, **(small | settings))


def test_actions_beyond_the_limits_are_a_warning_and_count_as_the_limit():
    warned = cloned("linear", steps=1000)
    meant = cloned("linear", steps=1000, clip=True)
    assert "`clip` says" in " ".join(str(warned).split())
    assert "`clip` says" not in " ".join(str(meant).split())
    assert {f.code for f in warned.findings} >= {"action_out_of_range"}
    assert "action_out_of_range" not in {f.code for f in meant.findings}
    for made in (warned, meant):
        # Beyond the limits these are right, and within them the expert's gains.
        assert made.errors["clone"] < 0.02 and made.mismatch["held out"] < 1e-3
        inside = np.array([0.1, -0.2])
        np.testing.assert_allclose(made.policy(inside), -GAINS @ inside, rtol=0.05)
        np.testing.assert_array_equal(made.policy(np.array([5.0, -5.0])), [-1, 0.5])


def test_without_an_environment_nothing_says_what_the_limits_are():
    made = cloned("linear", None)
    assert "option clip" not in str(made) and made.errors["clone"] < 1e-6
    with pytest.raises(ro.RobooptError, match="`clip` needs an `env`"):
        cloned("linear", None, clip=True)


@pytest.mark.usefixtures("few_layers")
def test_a_clone_without_limits_keeps_the_demonstrated_range_and_a_margin():
    class Free(Point):
        action_space = gymnasium.spaces.Box(
            np.array([-np.inf, -0.5]), np.inf, dtype=np.float64
        )

    every = np.concatenate([episode.actions for episode in expert()])
    low, high = every.min(0), every.max(0)
    low, high = 4 * low - 3 * high, 4 * high - 3 * low
    far, inside = np.array([1e6, -1e6]), np.array([0.1, -0.2])
    made = cloned("linear", None)
    np.testing.assert_allclose(made.policy(far), [low[0], high[1]])
    np.testing.assert_allclose(made.policy(inside), -GAINS @ inside, rtol=1e-5)
    np.testing.assert_allclose(made.policy.policy(far), -GAINS @ far, rtol=1e-4)
    assert "three times as much on each side" in made.description["limits"]
    # Limits of the environment go before; a stable policy, and one's own, have none.
    made = cloned("linear", Free, clip=True)
    np.testing.assert_allclose(made.policy(-far), [high[0], -0.5])
    assert "limits" not in cloned("linear", clip=True).description
    mine = ro.policies.LinearFeedback(jnp.asarray(GAINS))
    for policy in ("stable", mine):
        found = cloned(policy, None)
        assert "limits" not in found.description
        assert not isinstance(found.policy, ro.policies.Clipped)


def test_actions_that_never_change_stay_as_they_are():
    still = [
        dataclasses.replace(e, actions=np.hstack([e.actions, np.full((30, 1), 7.0)]))
        for e in expert()
    ]
    made = ro.clone(still, policy="mlp", steps=2, width=4, depth=1)
    assert abs(float(made.policy(np.array([1e3, 1e3]))[2]) - 7) < 1e-5


KINDS = {
    "linear": {"policy": "linear"},
    "relative": {"policy": "mlp", "relative": (0, 1)},
    "past actions": {"policy": "mlp", "past_actions": 2},
    "stable": {"policy": "stable"},
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.slow] * (k == "stable")) for k in KINDS],
)
def test_clones_and_their_exports_keep_the_limits(kind, tmp_path):
    policy = cloned(**KINDS[kind], clip=True).policy
    exported = export_numpy(policy, np.zeros(2), tmp_path)
    found: dict = {"__file__": str(exported.runner)}
    exec(exported.runner.read_text("utf-8"), found)
    runner, carry = found["Policy"](), ro.policies.initial_carry(policy)
    actions = []
    for seen in 5 * np.random.default_rng(1).normal(size=(50, 2)):
        carry, action = ro.policies.act(policy, carry, jnp.asarray(seen), jnp.zeros(()))
        actions.append(runner(seen))
        np.testing.assert_allclose(actions[-1], action, rtol=1e-6, atol=1e-9)
    assert (np.abs(actions) <= LIMITS).all()
    assert (np.abs(actions).max(0) == LIMITS).all()


def returns(values, success=None):
    """Return the evaluation of episodes of one step with these returns."""
    values = np.asarray(values, float)
    return ro.rollouts.Evaluation(
        ro.data.Trajectory(
            np.zeros((len(values), 2, 1)), np.zeros((len(values), 1, 1)), STEP_S
        ),
        values,
        np.ones(len(values), int),
        success,
    )


def succeeding(count):
    return returns(np.zeros(20), np.arange(20) < count)


# Of Student's intervals, [1, 2, 3] has 2 ± 2.48, [8, 9, 10] has 9 ± 2.48; of Wilson's,
# 18 of 20 has 0.70 to 0.97, 12 of 20 has 0.39 to 0.78, 8 of 20 has 0.22 to 0.61.
@pytest.mark.parametrize(
    "clone, demonstrator, worse",
    [
        (returns([1, 2, 3]), returns([8, 9, 10]), True),
        (returns([1, 2, 3]), returns([4, 5, 6]), False),
        (returns([8, 9, 10]), returns([1, 2, 3]), False),
        (returns([1]), returns([100, 100]), False),
        (succeeding(8), succeeding(18), True),
        (succeeding(12), succeeding(18), False),
        (succeeding(18), succeeding(8), False),
    ],
)
def test_a_clone_is_worse_only_where_the_intervals_do_not_overlap(
    clone, demonstrator, worse, judged
):
    both = {"clone": clone, "demonstrator": demonstrator}
    said = str(dataclasses.replace(judged, evaluations=both))
    assert ("does worse than its demonstrator" in said) == worse


@pytest.fixture(scope="module")
def judged():
    return cloned("linear", clip=True)
