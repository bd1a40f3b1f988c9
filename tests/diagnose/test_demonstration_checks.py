"""What is found wrong with demonstrations."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance

from roboopt.data import Trajectory
from roboopt.diagnose import check_demonstrations

BOX = spaces.Box(-2.0, 2.0, (2,), np.float64)
SEEN = spaces.Box(-np.inf, np.inf, (3,), np.float64)


def episode(seed=0, steps=100, scale=1.0):
    """Random observations within ±1 and a law of their sine, within ±1.7 · scale."""
    rng = np.random.default_rng(seed)
    seen = rng.uniform(-1, 1, (steps + 1, 3))
    return Trajectory(
        seen, scale * np.sin(3 * seen[:-1, :2] + seen[:-1, 2:]) * 1.7, 0.1
    )


def changed(**arrays):
    return dataclasses.replace(episode(), **arrays)


def choices(values, dtype: type = int):
    return changed(actions=np.resize(np.array(values, dtype), (100, 1)))


def codes(episodes, **spaces):
    return [finding.code for finding in check_demonstrations(episodes, **spaces)]


def only(episodes, kind, severity, **spaces):
    """Return the one finding, which must be of this code, as text."""
    (finding,) = check_demonstrations(episodes, **spaces)
    assert (finding.code, finding.severity) == (kind, severity), finding
    return str(finding)


def test_good_demonstrations_have_no_findings():
    runs = [episode(0), episode(1, steps=30), episode(2)]
    assert check_demonstrations(runs) == []
    assert codes(runs, observation_space=SEEN, action_space=BOX) == []
    three = spaces.Discrete(3, start=-1)
    assert codes(choices([-1, 0, 1]), action_space=three) == []


def test_values_that_are_not_finite_are_found_first():
    broken = episode(1)
    broken.actions[7, 1] = np.nan
    broken.actions[9] = np.inf
    findings = check_demonstrations(
        [episode(), broken, episode(2, steps=1)], action_space=BOX
    )
    assert [f.code for f in findings] == ["not_finite", "short_episode"]
    assert findings[0].where == "episode 1"
    assert "actions" in findings[0].message
    assert "2 of 100 steps, the first at step 7, axis 1" in findings[0].message
    broken.observations[3, 2] = np.nan
    assert codes(broken, observation_space=SEEN) == ["not_finite"] * 2


def test_mixed_sizes_and_kinds_are_found():
    wide = changed(observations=np.zeros((101, 5)))
    message = only([episode(), wide, episode(1)], "mixed_sizes", "error")
    assert "observations differ in size: 3 in episodes 0, 2; 5 in episode 1" in message
    whole = changed(actions=np.ones((100, 2), int))
    message = only([episode(), whole], "mixed_kinds", "error")
    assert "actions differ in type: numbers in episode 0; whole numbers in" in message


def test_another_environment_is_found():
    message = only(
        episode(),
        "another_environment",
        "error",
        observation_space=spaces.Box(-1, 1, (11,)),
    )
    assert "size 3" in message and "have 11" in message
    one = spaces.Box(-2.0, 2.0, (1,))
    assert codes(episode(), action_space=one) == ["another_environment"]


def test_numbers_for_choices_and_the_other_way_round_are_found():
    two = spaces.Discrete(2)
    message = only(
        choices([0, 1], float), "numbers_for_choices", "error", action_space=two
    )
    assert "though all of them are whole: convert them by `astype(int)`" in message
    message = only(
        choices([0, 0.5, 0.25], float),
        "numbers_for_choices",
        "error",
        action_space=two,
    )
    assert "not all of them are whole" in message
    one = spaces.Box(-2.0, 2.0, (1,))
    message = only(choices([0, 1]), "choices_for_numbers", "error", action_space=one)
    assert "actions are continuous, but those recorded are of type int64" in message


@pytest.mark.parametrize(
    "space", [spaces.Discrete(2), spaces.MultiDiscrete([2]), spaces.MultiBinary(1)]
)
def test_labels_out_of_range_are_found(space):
    message = only(
        choices([0, 1, 2, 1]), "label_out_of_range", "error", action_space=space
    )
    assert "25 of 100 samples (25 %)" in message
    assert codes(choices([0, 1]), action_space=space) == []


def test_actions_somewhat_out_of_range_are_a_warning():
    over = episode()
    over.actions[:5, 1] = 2.5
    message = only(over, "action_out_of_range", "warning", action_space=BOX)
    assert message.startswith("action axis 1: ")
    assert "0.5 beyond its bounds -2 to 2, in 5 of 100 samples (5 %)" in message
    # What single precision rounds is within.
    over.actions[:5, 1] = np.float32(2.0) * (1 + 1e-7)
    assert "action_out_of_range" not in codes(over, action_space=BOX)


@pytest.mark.parametrize(
    "scale, bound, what",
    [
        (180 / np.pi, 2.0, "would keep to them in degrees; convert them to radians"),
        (30.0, 1.0, "the space is normalized to ±1 and they are 51 times as large"),
        (5.0, 2.0, "they reach 4.25 times the bounds; compare the units"),
    ],
)
def test_a_telling_ratio_is_an_error(scale, bound, what):
    space = spaces.Box(-bound, bound, (2,), np.float64)
    findings = check_demonstrations(episode(scale=scale), action_space=space)
    (found,) = findings
    assert (found.code, found.severity) == ("action_out_of_range", "error")
    assert found.where == "action axes 0, 1"
    assert what in found.message
    assert "axis 0 goes" in found.message and "axis 1 goes" in found.message


def test_actions_divided_by_their_largest_are_found():
    space = spaces.Box(-87.0, 87.0, (2,), np.float64)
    scaled = episode(scale=1 / 1.7)
    message = only(scaled, "normalized", "warning", action_space=space)
    assert "within ±1 and reach 1, but the environment's go to 87" in message
    assert codes(episode(scale=0.3), action_space=space) == []


def test_observations_out_of_range_are_found():
    space = spaces.Box(np.array([-1, -0.5, -np.inf]), np.inf, (3,), np.float64)
    message = only(
        episode(), "observation_out_of_range", "warning", observation_space=space
    )
    assert (
        "observation axis 1: " in message
        and "goes 0.4" in message
        and "-0.5 to inf" in message
    )
    degrees = changed(observations=episode().observations * 180 / np.pi)
    unit = spaces.Box(-1.5, 1.5, (3,), np.float64)
    findings = check_demonstrations(degrees, observation_space=unit)
    assert "convert them to radians" in findings[0].message


def test_constant_actions_are_found():
    still = episode()
    still.actions[:, 1] = 0.25
    message = only(still, "constant_action", "warning")
    assert message.startswith("action axis 1: ") and "0.25" in message
    assert "nothing to learn" in only(choices([1]), "constant_action", "error")


def test_saturation_names_what_to_pass():
    held = changed(actions=np.clip(episode().actions * 3, -2.0, 2.0))
    findings = check_demonstrations(held, action_space=BOX)
    assert [f.code for f in findings] == ["saturation"] * 2
    assert "pass `low=-2, high=2` to" in findings[0].message
    assert findings[0].where == "action axis 0"
    # Without a space, by the value that comes again and again.
    one_sided = changed(actions=np.minimum(episode().actions, 1.0))
    findings = check_demonstrations(one_sided)
    assert [f.code for f in findings] == ["saturation"] * 2
    assert "pass `high=1` to" in findings[0].message
    # A switch is at its limits always, and not cut off.
    assert codes(changed(actions=np.sign(episode().actions))) == []


def test_duplicates_and_short_episodes_are_found():
    runs = [episode(), episode(1), episode(), episode(2), episode()]
    message = only(runs, "duplicate_episodes", "warning")
    assert "2 of 5" in message and message.startswith("episodes 0, 2, 4: ")
    short = [episode(k, steps=1) for k in range(7)]
    message = only([episode(), *short], "short_episode", "warning")
    assert message.startswith("episodes 1, 2, 3, 4, 5 and 2 more: ")
    nothing = Trajectory(np.zeros((1, 3)), np.zeros((0, 2)), 0.1)
    assert codes(nothing, action_space=BOX) == ["short_episode"]


def linear(noise=0.0):
    """A demonstrator of a linear law, on an environment that wanders."""
    rng = np.random.default_rng(5)
    seen = np.cumsum(rng.normal(size=(500, 3)), axis=0)
    seen -= 0.9 * np.roll(seen, 1, axis=0)
    acted = seen[:-1] @ rng.normal(size=(3, 2))
    return seen, acted + noise * rng.normal(size=acted.shape)


@pytest.mark.parametrize("shift, what", [(1, "late"), (-2, "early")])
def test_shifted_actions_are_found(shift, what):
    seen, acted = linear()
    shifted = Trajectory(seen, np.roll(acted, shift, axis=0), 0.1)
    message = only(shifted, "shifted_actions", "warning")
    assert f"logged too {what}, by {abs(shift)} in samples" in message
    assert codes(Trajectory(seen, acted, 0.1)) == []


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize(
    "env, law",
    [
        (CartPoleBalance(duration=1.0), lambda o: o @ [[3.0], [4.0], [40.0], [7.0]]),
        (CartPoleBalance(duration=1.0), lambda o: 9 * np.tanh(o @ np.ones((4, 1)))),
        # Its observations are the joints' positions, velocities and goals.
        (
            ArmReach("two-link", duration=1.0),
            lambda o: 8 * np.sin(o[4:6] - o[:2]) - 2 * o[2:4],
        ),
    ],
)
def test_controllers_that_react_at_once_are_not_shifted(env, law, noise):
    rng = np.random.default_rng(0)
    high = getattr(env.action_space, "high", np.inf)
    runs = []
    for start in env.sample_starts(4, seed=1):
        observation, _ = env.reset(options={"start": start})
        seen, acted, ended = [observation], [], False
        while not ended:
            action = np.asarray(law(observation))
            action = np.clip(
                action + noise * rng.normal(size=action.shape), -high, high
            )
            observation, _, _, ended, _ = env.step(action)
            seen.append(observation)
            acted.append(action)
        runs.append(Trajectory(np.array(seen), np.array(acted), env.time_step))
    assert "shifted_actions" not in codes(runs)


def test_a_real_environment_has_no_findings():
    env = gymnasium.make("CartPole-v1")
    runs = []
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        seen, acted, ended = [observation], [], False
        while not ended:
            action = int(observation[2] + observation[3] > 0)
            observation, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
            seen.append(observation)
            acted.append([action])
        runs.append(Trajectory(np.array(seen), np.array(acted), 0.02))
    found = check_demonstrations(
        runs,
        observation_space=env.observation_space,
        action_space=env.action_space,
    )
    assert found == []


@pytest.mark.parametrize(
    "episodes, arguments, match",
    [
        ([], {}, "`episodes` must hold at least one, got none"),
        (
            episode(),
            {"action_space": spaces.Dict({"a": BOX})},
            "`action_space` must be a space of Box, Discrete, .* got Dict",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(episodes, arguments, match):
    with pytest.raises(ValueError, match=match):
        check_demonstrations(episodes, **arguments)


def glitched(array, axis, places):
    """Return ten episodes, in which an array has other values at (episode, step)."""
    runs = [episode(k) for k in range(10)]
    for (k, step), value in places.items():
        getattr(runs[k], array)[step, axis] = value
    return runs


def test_single_samples_far_outside_all_others_are_found():
    places = {(3, 12): 1e3, (3, 40): -900.0, (7, 0): 1e3, (9, 100): 1e3}
    message = only(glitched("observations", 1, places), "outlying_samples", "warning")
    assert message.startswith("observation axis 1: ")
    assert "1000 at step 12 of episode 3, -900 at step 40 of episode 3" in message
    assert "and so in 1 more, and within -0.99" in message
    assert "`quantiles`" in message
    message = only(
        glitched("actions", 0, {(2, 5): 60.0}), "outlying_samples", "warning"
    )
    assert message.startswith("action axis 0: ") and "60 at step 5" in message
    # More than the quantiles leave out.
    often = {(k, step): 1e3 for k in range(10) for step in (30, 60)}
    message = only(glitched("observations", 1, often), "outlying_samples", "warning")
    assert "`quantiles`" not in message and "and so in 17 more" in message


@pytest.mark.parametrize("tail", [1.0, 2.0, 3.0])
def test_heavy_tails_and_motions_are_no_outliers(tail):
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        seen, acted = (rng.standard_t(tail, (n, 3)) for n in (1001, 1000))
        run = Trajectory(seen, acted, 0.1)
        found += "outlying_samples" in codes(run)
    # Six axes each; a sample of a Cauchy distribution may well be far from all others.
    assert found <= {1.0: 4, 2.0: 1, 3.0: 0}[tail]
    # What lasts is a motion, and events on an axis that rests are rare.
    moved = {(3, step): 1e3 for step in range(20, 26)}
    assert codes(glitched("observations", 1, moved)) == []
    pressed = episode()
    pressed.observations[:, 1] = 0.0
    pressed.observations[[20, 60], 1] = 1.0
    assert codes(pressed) == []
