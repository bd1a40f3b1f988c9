"""A clone is selected on validation episodes, and judged on others beside baselines."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.cli import main
from roboopt.imitation._baselines import baseline_errors
from roboopt.imitation._toward_last_action import toward_last_action


def said(made):
    return " ".join(str(made).split())


SMALL: dict[str, Any] = {"steps": 200, "width": 8, "depth": 1}


def wandering(seed, count, length, rule, noise=0.0):
    """Return episodes of random walks of two axes, with noise on the actions."""
    rng, episodes = np.random.default_rng(seed), []
    for _ in range(count):
        seen = np.cumsum(rng.normal(size=(length + 1, 2)), 0)
        actions = np.apply_along_axis(rule, 1, seen[:-1])
        actions = actions + noise * rng.normal(size=actions.shape)
        episodes.append(ro.data.Trajectory(seen, actions, 0.05))
    return episodes


def tremor(seed, count=12, length=60):
    """Return episodes whose actions change slowly, and not with the observation."""
    rng, episodes = np.random.default_rng(seed), []
    for _ in range(count):
        action = np.cumsum(rng.normal(size=(length, 1)), 0)
        seen = rng.normal(size=(length + 1, 2))
        episodes.append(ro.data.Trajectory(seen, action, 0.05))
    return episodes


def test_a_linear_demonstrator_gets_a_linear_clone():
    episodes = wandering(0, 8, 40, lambda o: [o[0] - 2 * o[1]], noise=1.0)
    made = ro.clone(episodes, **SMALL)
    assert isinstance(made.policy.policy, ro.policies.LinearPolicy)
    # The same least squares, of all samples but those held out.
    assert made.errors["clone"] == pytest.approx(made.errors["linear"], rel=1e-9)
    assert made.errors["clone"] < made.errors["nearest neighbor"]
    assert "The clone is the linear policy" in said(made)
    network = ro.clone(episodes, policy="mlp", **SMALL)
    assert isinstance(network.policy.policy, ro.policies.MLPPolicy)


def test_a_curved_demonstrator_gets_a_network_that_beats_the_baselines():
    episodes = wandering(1, 12, 80, lambda o: [np.sin(o[0])], noise=0.1)
    made = ro.clone(episodes, steps=2000, width=32)
    assert isinstance(made.policy.policy, ro.policies.MLPPolicy)
    others = [x for name, x in made.errors.items() if name != "clone"]
    assert made.errors["clone"] < min(others)
    known = made.training.history["validation"]
    assert made.mismatch["validation"] <= (1 + 1e-9) * np.nanmin(known)
    assert f"step {made.training.best_step} of" in said(made)


def choosing(seed, count):
    """Return episodes of choices 3, 4 and 5, the last only in the first episode."""
    rule = lambda o: [3 + (o[0] + o[1] > 0)]  # noqa: E731
    runs = [
        (e.observations, e.actions.astype(int))
        for e in wandering(seed, count, 40, rule)
    ]
    runs[0][1][:3] = 5
    return [ro.data.Trajectory(*run, 0.05) for run in runs]


@pytest.mark.parametrize("chunk", [None, 3])
def test_few_episodes_of_choices_select_by_cross_validation(chunk):
    small: dict[str, Any] = {"steps": 400, "width": 8, "depth": 1, "chunk": chunk}
    made = ro.clone(
        choosing(0, 8), held_out=choosing(1, 9)[1:], past_actions=0, **small
    )
    assert (
        "by cross-validation for selection (8 episodes in 5 parts)"
        in (made.description["samples"])
    )
    # Each episode selects by a network that has not seen it, and all of them teach.
    known = made.training.history["validation"]
    assert made.mismatch["validation"] == pytest.approx(np.nanmin(known), rel=1e-9)
    assert "negative_log_likelihood" in made.training.history
    others = [x for name, x in made.errors.items() if name != "clone"]
    assert made.errors["clone"] < min(others)


@pytest.mark.slow
def test_the_clone_sees_its_actions_where_copying_them_is_better():
    made = ro.clone(tremor(2), **SMALL)
    assert "3 past actions" in made.description["input"]
    assert made.errors["clone"] < 1.05 * made.errors["persistence"]
    assert made.errors["persistence"] < 0.5 * made.errors["linear"]
    assert made.time_step == 0.05
    assert [s.title for s in made.sections()][:2] == ["The error", "The training"]
    blind = ro.clone(tremor(2, 24), past_actions=0, **SMALL)
    assert blind.errors["clone"] > blind.errors["persistence"]
    assert "more than the baseline persistence" in said(blind)
    # The policy acts with a memory of what it did: three actions in, one out.
    carry, action = ro.policies.initial_carry(made.policy), jnp.zeros(0)
    for _ in range(3):
        carry, action = ro.policies.act(made.policy, carry, jnp.zeros(2), jnp.zeros(()))
    assert action.shape == (1,) and np.isfinite(action).all()
    assert ro.policies.observation_size(made.policy) == 2


@pytest.mark.slow
def test_in_an_environment_it_sees_them_only_if_it_does_the_task_better(tmp_path):
    name, demos = "roboopt/CartPoleSwingUp-v0", tmp_path / "demos.npz"
    collected = ["collect", name, "--noise", "0.2", "--episodes", "30"]
    assert main([*collected, "--out", str(demos)]) == 0
    how: dict[str, Any] = {"steps": 3000, "episodes": 20}

    def share(made):
        found = made.evaluations["clone"].successes
        assert found is not None
        return found.mean()

    made = ro.clone(demos, name, **how)
    assert "past action" not in made.description["input"]
    assert share(made) >= 0.75
    copying = ro.clone(demos, name, past_actions=3, **how)
    # Its error is smaller, and says little.
    assert copying.errors["clone"] < made.errors["clone"]
    assert share(copying) <= 0.6


@pytest.mark.slow
def test_a_resumed_clone_is_the_same_to_the_bit(tmp_path):
    path: dict[str, Any] = {"checkpoint": tmp_path / "run.npz"}
    whole = ro.clone(tremor(2), **SMALL)
    ro.clone(tremor(2), **path, **{**SMALL, "steps": 200}, seconds=1e9)
    again = ro.clone(tremor(2), **path, **SMALL)
    for one, other in zip(
        jax.tree.leaves(whole.policy), jax.tree.leaves(again.policy), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_baselines_by_hand():
    # Observations 0, 1, 2 with actions 0, 1, 2 are known; asked is 2, 0 with 5, 1.
    known = ro.data.Trajectory(
        np.array([[0.0], [1], [2], [3]]), np.arange(3.0)[:, None], 1.0
    )
    asked = ro.data.Trajectory(np.array([[2.0], [0], [0]]), np.array([[5.0], [1]]), 1.0)
    found = baseline_errors([known], [asked], np.array([4.0]), np.array([2.0]), {})
    # Persistence says 4, 5; linear and neighbor say 2, 0: errors 1, 4 and 3, 1 over 2.
    assert found["persistence"].total == pytest.approx(np.sqrt((1 + 16) / 2) / 2)
    assert found["linear"].total == pytest.approx(np.sqrt((9 + 1) / 2) / 2, rel=1e-5)
    assert found["nearest neighbor"].total == pytest.approx(np.sqrt(5) / 2)
    # The mean of 0, 1 and 2 is off by 4 and by 0.
    assert found["constant"].total == pytest.approx(np.sqrt(16 / 2) / 2)
    clipped = baseline_errors(
        [known], [asked], np.array([4.0]), np.array([2.0]), {"high": np.array([4.5])}
    )
    assert clipped["persistence"].by_action == pytest.approx(np.sqrt((1 + 3.5**2) / 2))


def test_the_errors_are_those_of_the_documented_formulas(tmp_path):
    # Everything from the demonstrations and the held-out episodes that are saved.
    runs = tremor(3, count=9)
    runs = [
        dataclasses.replace(
            e, actions=np.hstack([e.actions, e.actions**2, 0 * e.actions + 2])
        )
        for e in runs
    ]
    made = ro.clone(runs, policy="linear", **SMALL)
    made.save(tmp_path / "run")
    held = ro.load(tmp_path / "run").held_out
    same = lambda a, b: np.array_equal(a.observations, b.observations)  # noqa: E731
    known = [e for e in runs if not any(same(e, x) for x in held)]
    assert len(held) == 3 and len(known) == 6

    def joined(part):
        return [
            np.concatenate([np.asarray(x) for x in each])
            for each in zip(
                *((e.observations[:-1], e.actions) for e in part), strict=True
            )
        ]

    (seen, acted), (asked, meant) = joined(known), joined(held)
    first = np.mean([e.actions[0] for e in known], 0)
    ones = lambda x: np.hstack([x, np.ones((len(x), 1))])  # noqa: E731
    weights = np.linalg.lstsq(ones(seen), acted)[0]
    units = seen.std(0)
    gaps = ((asked[:, None] - seen[None]) / units) ** 2
    low, high = acted.min(0), acted.max(0)
    low, high = 2 * low - high, 2 * high - low
    before = [np.vstack([first, e.actions[:-1]]) for e in held]
    predicted = {
        "constant": np.tile(acted.mean(0), (len(meant), 1)),
        "persistence": np.concatenate(before),
        "linear": np.clip(ones(asked) @ weights, low, high),
        "nearest neighbor": acted[gaps.sum(2).argmin(1)],
    }
    spread = acted.std(0)[:2]  # The third axis never changes.
    for name, actions in predicted.items():
        error = np.sqrt(np.mean(((actions - meant)[:, :2] / spread) ** 2))
        assert made.errors[name] == pytest.approx(error, rel=1e-6), name


def test_baselines_of_choices():
    known = ro.data.Trajectory(np.array([[-1.0], [1], [0]]), np.array([[0], [3]]), 1.0)
    asked = ro.data.Trajectory(np.array([[-2.0], [2], [0]]), np.array([[0], [3]]), 1.0)
    found = baseline_errors([known], [asked], np.array([0]), np.array([1.5]), {})
    assert found["constant"].total == 0.5  # Of equally frequent ones the first.
    assert found["linear"].total == found["nearest neighbor"].total == 0
    assert found["persistence"].total == 0.5


@pytest.mark.slow
def test_weight_decay_and_dropout_shrink_what_noise_teaches():
    # Actions of pure noise: whatever a network learns of them is wrong.
    episodes = wandering(3, 6, 30, lambda o: [0.0], noise=1.0)
    alike: dict[str, Any] = {
        "policy": "mlp",
        "validation": 0,
        "steps": 600,
        "width": 32,
    }

    def size(made):
        seen = np.random.default_rng(0).normal(size=(200, 2))
        return float(np.std(jax.vmap(made.policy)(jnp.asarray(seen))))

    plain = size(ro.clone(episodes, **alike))
    assert size(ro.clone(episodes, weight_decay=1.0, **alike)) < 0.7 * plain
    assert size(ro.clone(episodes, dropout=0.5, **alike)) < 0.9 * plain


@pytest.mark.parametrize(
    "name, value",
    [("validation", 1.0), ("validation", -0.1), ("patience", 0), ("past_actions", -1)]
    + [("dropout", 1.0), ("weight_decay", -1.0), ("relative", (5,)), ("clip", True)],
)
def test_what_cannot_be_is_refused(name, value):
    with pytest.raises(ro.RobooptError, match=f"`{name}`"):
        ro.clone(tremor(0), **{name: value}, **SMALL)


@pytest.mark.parametrize("name", ["dropout", "weight_decay"])
def test_a_policy_without_hidden_layers_refuses_their_regularization(name):
    with pytest.raises(ro.RobooptError, match=f"`{name}` must be 0 .* got 0.5"):
        ro.clone(tremor(0), policy="linear", **{name: 0.5}, **SMALL)


@pytest.mark.parametrize("policy", ["stable", "tanh-gaussian"])
def test_policies_without_relative_actions_refuse_them(policy):
    with pytest.raises(ro.RobooptError, match="`relative`.*" + policy):
        ro.clone(tremor(0), policy=policy, relative=(0,), **SMALL)


def test_noise_does_not_draw_a_policy_away_from_its_last_action():
    # The next action is the last one and noise, beside 20 axes that say nothing.
    rng = np.random.default_rng(0)

    def samples(count):
        seen = rng.normal(size=(count, 22)) * [*[3.0] * 20, 2.0, 0.5]
        acted = seen[:, -2:] + 0.1 * rng.normal(size=(count, 2))
        return ro.data.Demonstrations(jnp.asarray(seen), jnp.asarray(acted))

    known, fresh = samples(40), samples(1000)
    policy = ro.policies.LinearPolicy.of(known)
    fold, unit = np.zeros(40, int), np.arange(40) // 4
    learned = [known, known]
    drawn, _ = toward_last_action([policy] * 2, learned, samples(40), fold, unit)
    policies = policy, drawn
    squares, drawn = (
        float(np.std(jax.vmap(p)(fresh.observations) - fresh.actions)) for p in policies
    )
    # Noise of 0.1 cannot be predicted; least squares add √(22 / 40) of it or more.
    assert drawn < 0.105 and squares > 0.12


def test_a_law_of_the_last_action_is_learned_as_by_least_squares():
    # The observation has an angle, whose features come last.
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(200, 3)) + [0, 5, 0]
    acted = 0.5 * seen[:, 2:] + np.sin(seen[:, :1]) - 0.1 * seen[:, 1:2] + 7
    known = ro.data.Demonstrations(jnp.asarray(seen), jnp.asarray(acted))
    policy = ro.policies.LinearPolicy.of(known, angles=(0,))
    fold, unit = np.zeros(200, int), np.arange(200) // 20
    _, made = toward_last_action([policy] * 2, [known] * 2, known, fold, unit)
    np.testing.assert_allclose(jax.vmap(made)(known.observations), acted, atol=1e-5)
