"""The sentences about a clone agree with its numbers, and name what is there."""

import dataclasses
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._flag_names import flags_named
from roboopt.cli.clone import Clone
from roboopt.imitation._clone_training import NO_BETTER
from roboopt.imitation._policy_kinds import ON_GRAVITY

SMALL: dict[str, Any] = {"steps": 20, "width": 4, "depth": 1}


def tremor(count=12, length=40):
    """Return episodes whose actions change slowly, and not with the observation."""
    rng, episodes = np.random.default_rng(0), []
    for _ in range(count):
        action = np.cumsum(rng.normal(size=(length, 1)), 0)
        seen = rng.normal(size=(length + 1, 2))
        episodes.append(ro.data.Trajectory(seen, action, 0.05))
    return episodes


def said(made):
    return " ".join(str(made).split())


def first(made):
    return made.summary().sentences[0]


def judged(made, **errors):
    """Return a result with these errors of two samples in each held-out episode."""
    runs = {k: tuple(np.full(2, x) for x in each) for k, each in errors.items()}
    totals = {k: float(np.sqrt(np.mean(np.square(x)))) for k, x in errors.items()}
    return dataclasses.replace(
        made,
        errors=totals,
        error_over_time=runs.pop("clone"),
        baseline_over_time=runs,
    )


def test_a_clone_is_worse_than_a_baseline_only_where_episodes_tell():
    made = ro.clone(tremor(), policy="linear", **SMALL)
    # Squares of 4, 1, 4 and of 1, 4, 3: shares of 4, 1, 4 ninths and 1, 4, 3 eighths.
    unclear = judged(made, clone=[2.0, 1.0, 2.0], persistence=[1.0, 2.0, 3**0.5])
    assert "3 episodes cannot tell which of the two is better" in said(unclear)
    assert "more than the baseline" not in said(unclear)
    # The mean of the squares is 3, their standard error 1, a third of it: within
    # Student's 4.303 standard errors for two degrees of freedom.
    bounds = np.sqrt(3 * np.exp([-4.30265 / 3, 4.30265 / 3]))
    np.testing.assert_allclose(unclear.error_intervals["clone"], bounds, rtol=1e-5)
    # A baseline without error is better where the clone errs in every episode.
    exact, wrong = judged(made, clone=[1.0] * 3, persistence=[0.0] * 3), "cannot tell"
    assert "more than the baseline persistence, 0:" in said(exact)
    assert wrong not in said(exact)
    tied = judged(made, clone=[1.0, 0.0, 1.0], persistence=[0.0] * 3)
    assert "3 episodes cannot tell which of the two is better" in said(tied)
    assert wrong in said(judged(made, clone=[1.0], persistence=[0.0]))
    assert wrong not in said(judged(made, clone=[0.0] * 2, persistence=[1.0] * 2))
    assert tied.error_intervals["persistence"] == (0.0, np.inf)
    worse = judged(made, clone=[4.0, 3.9, 4.1], persistence=[1.0, 1.2, 1.1])
    assert "more than the baseline persistence" in said(worse)
    # Errors that differ from episode to episode more than between the two.
    varied = judged(made, clone=[40.0, 3.9, 0.41], persistence=[10.0, 1.2, 0.11])
    assert "more than the baseline persistence" in said(varied)
    better = judged(made, clone=[1.0, 1.2, 1.1], persistence=[4.0, 3.9, 4.1])
    assert "the best baseline, persistence, errs by 4" in said(better)
    assert "cannot tell" not in said(better)


def test_one_held_out_episode_has_no_interval_and_says_so():
    made = ro.clone(tremor(), policy="linear", **SMALL)
    rng = np.random.default_rng(0)
    one = dataclasses.replace(
        judged(made, clone=[4.0], persistence=[1.0]),
        error_over_time=(4 + 0.1 * rng.normal(size=400),),
        baseline_over_time={"persistence": (1 + 0.1 * rng.normal(size=400),)},
        training_error_over_time=(np.full(9, 0.1),),
    )
    # However many samples it has, they tell nothing of other episodes.
    assert set(one.error_intervals.values()) == {(0.0, np.inf)}
    assert "one episode cannot tell" in said(one) and "–" in said(one)
    assert "there is no interval" in said(one)
    assert "The policy may overfit" in said(one)
    assert "more than the baseline" not in said(one)
    two = judged(made, clone=[4.0, 4.1], persistence=[1.0, 1.0])
    assert "no interval" not in said(two)


def test_every_baseline_that_is_better_is_named_with_its_error():
    made = ro.clone(tremor(), policy="linear", **SMALL)
    other = {"linear": [2.0, 2.1, 1.9], "nearest neighbor": [9.0, 9.0, 9.1]}
    worse = judged(made, clone=[4.0, 3.9, 4.1], persistence=[1.0, 1.2, 1.1], **other)
    assert "more than the baselines persistence, 1.1" in said(worse)
    assert ", and linear, 2.00" in said(worse) and "nearest" not in first(worse)
    # An error that three episodes do not tell from the clone's is named as such.
    other["linear"] = [5.0, 0.1, 4.0]
    worse = judged(made, clone=[4.0, 3.9, 4.1], persistence=[1.0, 1.2, 1.1], **other)
    assert "3 episodes cannot tell of linear, 3.69" in said(worse)
    other["persistence"] = [3.0, 0.1, 4.4]
    unclear = judged(made, clone=[4.0, 3.9, 4.1], **other)
    assert "err less: persistence, 3.07" in said(unclear)
    assert "; linear, 3.69" in said(unclear)
    assert "3 episodes cannot tell whether they are better" in said(unclear)


def test_a_policy_that_no_step_made_better_is_given_no_advice_on_training(tmp_path):
    made = ro.clone(tremor(), policy="mlp", **SMALL)
    history = {**made.training.history, "validation": np.array([1.0, np.nan, 2.0])}
    training = dataclasses.replace(made.training, history=history)
    begun = dataclasses.replace(made, training=training)
    begun = judged(begun, clone=[4.0, 3.9, 4.1], persistence=[5.0, 5.0, 5.0])
    begun = dataclasses.replace(begun, training_error_over_time=(np.full(9, 0.1),))
    assert "none of 20 steps was better" in said(begun)
    assert "training longer" not in said(begun)
    assert "The policy overfits" in said(begun) and "weight_decay" not in said(begun)


def test_a_clone_that_sees_its_past_actions_says_so():
    assert "past action" not in ro.clone(tremor(1), **SMALL).description["input"]
    made = ro.clone(tremor(), **SMALL)
    assert made.linear_kept and "The clone repeats the last action:" in said(made)
    other = judged(made, clone=[2.0, 2.1, 1.9], linear=[1.0, 1.1, 1.0])
    assert "linear policy of the last observation and 3 past actions:" in said(other)
    assert "`past_actions` 0 leaves them out" in said(other)
    assert 'linear" does better' not in said(other)


def test_a_clone_that_may_copy_its_last_action_is_doubted_without_an_environment():
    made, doubt = ro.clone(tremor(), **SMALL), "may mostly copy itself"
    errors = {"clone": [1.0, 1.1, 1.2], "linear": [4.0] * 3}
    # Repeating is better than the observation alone, or as good as the clone.
    for persistence in (3.0, 1.3):
        copying = judged(made, persistence=[persistence] * 3, **errors)
        assert doubt in said(copying) and f"errs by only {persistence:g}:" in said(
            copying
        )
    other = judged(made, persistence=[5.0] * 3, **errors)
    assert doubt not in said(other)
    blind = ro.clone(tremor(1), **SMALL)
    assert doubt not in said(judged(blind, persistence=[3.0] * 3, **errors))
    rewarded = [dataclasses.replace(x, rewards=np.ones(x.steps)) for x in tremor(3)]
    done = ro.clone(rewarded, **SMALL).demonstrations
    copying = judged(made, persistence=[3.0] * 3, **errors)
    acted = dataclasses.replace(copying, evaluations={"clone": done})
    assert doubt in said(copying) and doubt not in said(acted)


def test_a_clone_that_is_no_better_than_repeating_the_last_action_says_so():
    made = ro.clone(tremor(), **SMALL)
    # By the numbers: it errs in every sample as the last action does.
    copy = judged(made, clone=[1.0, 1.2, 1.1], persistence=[1.0, 1.2, 1.1])
    assert "The clone repeats the last action: on demonstrations" in said(copy)
    assert "persistence: it is no better than repeating the last" in said(copy)
    assert "linear policy of the last observation" not in said(copy)
    better = judged(made, clone=[1.0, 1.2, 1.1], persistence=[4.0, 3.9, 4.1])
    assert "repeat" not in said(better)
    equal = judged(made, clone=[1.0, 1.2, 1.1], linear=[1.1, 1.2, 1.0])
    assert "best baseline, linear: it is no better than a least" in said(equal)
    assert "repeats the last action" not in said(equal)


@pytest.mark.parametrize("name", ["chunk", "history", "past_actions"])
def test_samples_longer_than_every_episode_are_refused(name, tmp_path, capsys):
    how: dict[str, Any] = {name: 50}
    with pytest.raises(ro.RobooptError, match=rf"`{name}` .* 40, got 50: .* 40 steps"):
        ro.clone(tremor(4), **how)
    mixed = [*tremor(4), *tremor(4, 60)]
    with pytest.warns(UserWarning, match=f"`{name}` is 50, but .* 40 to 60 steps"):
        ro.clone(mixed, policy="linear", steps=1, **how)
    ro.data.save_episodes(tmp_path / "demos.npz", tremor(4))
    flag = "--" + name.replace("_", "-")
    line = ["clone", str(tmp_path / "demos.npz"), flag, "50", "--runs", str(tmp_path)]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert f"{flag} must be at most" in said and "compiling" not in said


def test_a_clone_that_was_interrupted_lacks_no_environment(monkeypatch):
    monkeypatch.setattr("roboopt.imitation._clone.ending", lambda: True)
    made = ro.clone(tremor(), policy="linear", **SMALL)
    assert "trained without an environment" in said(made)
    assert "could not be evaluated" not in said(made)


def test_commands_name_their_own_options():
    sentence = "More `steps` or `past_actions` help, `clip` or `demonstrations`, `x`."
    named = (
        "More `--steps` or `--past-actions` help, `--clip` or `demonstrations`, `x`."
    )
    assert flags_named(sentence, Clone) == named
    assert flags_named('As in `policy="gmm"`.', Clone) == "As in `--policy gmm`."


def test_sizes_that_do_nothing_or_never_end_are_told():
    with pytest.raises(ro.RobooptError, match="`width` must give a network of at most"):
        ro.clone(tremor(), width=100_000)
    with pytest.warns(UserWarning, match="`batch_size` is 9999, but there are"):
        ro.clone(tremor(), policy="linear", batch_size=9999, steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ro.clone(tremor(), policy="linear", steps=1)


def test_a_report_of_episodes_of_one_step_is_written(tmp_path):
    episodes = [run[0] for run in (tremor(1, 2),)]
    one = [
        ro.data.Trajectory(e.observations[:2], e.actions[:1], 0.05)
        for e in episodes * 4
    ]
    made = ro.clone(one, policy="linear", steps=1)
    made.report(tmp_path / "report.html", video=False)


def test_a_folder_without_a_policy_names_its_flag(tmp_path, capsys):
    line = ["reinforce", "roboopt/CartPoleBalance-v0", "--from", str(tmp_path)]
    assert main([*line, "--runs", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "--from must be a policy, but" in said and "holds no controller.npz" in said


def test_a_clone_overfits_that_errs_much_more_on_what_it_has_not_seen():
    made = ro.clone(tremor(), policy="linear", **SMALL)
    held_out = {"clone": [1.0, 1.1, 0.9], "persistence": [4.0, 3.9, 4.1]}
    learned = lambda x: (np.full(2, x), np.full(2, x))  # noqa: E731

    def with_training(error, **errors):
        other = judged(made, **errors)
        return dataclasses.replace(other, training_error_over_time=learned(error))

    text = said(with_training(0.25, **held_out))
    assert "overfits: it errs by 1.003 on held-out actions and by 0.25 on those" in text
    assert "4 times as much" in text
    # Of a fit of all actions nobody can say how many times.
    assert "0 on those that it has learned; more" in said(
        with_training(0.0, **held_out)
    )
    assert "overfit" not in said(with_training(0.8, **held_out))
    # Three episodes that differ as much as that cannot tell: the interval has 0.25.
    held_out["clone"] = [1.0, 0.1, 0.3]
    low, _ = with_training(0.25, **held_out).error_intervals["clone"]
    assert low < 0.25 and "overfit" not in said(with_training(0.25, **held_out))


def test_a_network_that_learns_noise_by_heart_is_said_to_overfit(tmp_path):
    rng = np.random.default_rng(0)
    runs = [
        ro.data.Trajectory(rng.normal(size=(21, 12)), rng.normal(size=(20, 1)), 0.1)
        for _ in range(12)
    ]
    made = ro.clone(runs, policy="mlp", validation=0.0, steps=1500)
    assert made.training_error < 0.5 < made.error_intervals["clone"][0]
    assert "The policy overfits" in said(made)
    made.report(tmp_path / "report.html", video=False)
    assert "The policy overfits" in (tmp_path / "report.html").read_text("utf-8")


def test_a_clone_whose_judging_was_interrupted_is_whole_but_for_its_errors(
    tmp_path, monkeypatch
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    kept = []
    monkeypatch.setattr("roboopt.imitation._clone._judged", interrupted)
    made = ro.clone(tremor(), policy="mlp", keep=kept.append, **SMALL)
    assert "standard deviations of the actions" in said(made)
    seen = np.zeros(2)
    for one in (made, *kept):
        assert one.interrupted and not one.errors
        assert "was not judged" in said(one) and "table" not in said(one)
        np.testing.assert_array_equal(one.policy(seen), made.policy(seen))
    made.save(tmp_path)
    loaded = ro.load(tmp_path)
    loaded.report(tmp_path / "report.html")
    assert said(loaded) == said(made)


def test_without_an_environment_the_errors_come_first_and_findings_name_their_place(
    tmp_path,
):
    runs = tremor()
    still = [dataclasses.replace(x, actions=np.repeat(x.actions, 2, 1)) for x in runs]
    for run in still:
        run.actions[:, 1] = 0.5
    made = ro.clone(still, policy="linear", **SMALL)
    first, *_, last, _ = made.summary().sentences
    assert "on held-out actions" in first and "without an environment" in last
    made.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "action axis 1: the action is 0.5 in every sample" in page


def test_baselines_do_not_see_the_past_actions_of_the_clone():
    one, other = (
        ro.clone(tremor(), policy="linear", past_actions=count, steps=1)
        for count in (0, 2)
    )
    for name in ("constant", "persistence", "linear", "nearest neighbor"):
        assert one.errors[name] == other.errors[name]
    assert other.errors["clone"] < 0.5 * one.errors["clone"]


def with_a_constant(episodes):
    """Return the episodes with an axis of their actions that never changes."""
    join = lambda e: np.hstack([e.actions, np.full_like(e.actions, 0.1)])  # noqa: E731
    return [dataclasses.replace(e, actions=join(e)) for e in episodes]


def test_the_losses_and_errors_that_are_shown_have_one_unit():
    plain = ro.clone(tremor(), policy="linear", **SMALL)
    made = ro.clone(with_a_constant(tremor()), policy="linear", **SMALL)
    # An axis that never changes makes no error smaller.
    assert {*made.errors} >= {"clone", "constant", "linear"}
    for name, error in plain.errors.items():
        assert made.errors[name] == pytest.approx(error, rel=1e-5)
    assert plain.loss_axes == made.loss_axes == 1
    for one in (plain, made):
        shown = np.sqrt(2 * one.mismatch["held out"])  # over the one axis
        assert shown == pytest.approx(one.errors["clone"], rel=1e-5)
        assert "mismatch" not in said(one) and "it errs by" in said(one)
    other = ro.clone(tremor(), policy="linear", loss="huber", **SMALL)
    assert other.loss_axes is None and "The loss is" in said(other)


def test_a_clone_of_noise_is_said_to_have_learned_nothing():
    rng = np.random.default_rng(0)
    seen, acted = rng.normal(size=(12, 31, 2)), rng.normal(size=(12, 30, 1))

    def cloned(actions):
        runs = [ro.data.Trajectory(*x, 0.1) for x in zip(seen, actions, strict=True)]
        return said(ro.clone(runs, policy="linear", **SMALL))

    assert "Always the mean action errs by" in (noise := cloned(acted))
    assert "nothing shows that the clone has learned anything" in noise
    assert "learned anything" not in cloned(seen[:, :-1, :1] + acted)
    made = ro.clone(tremor(), policy="linear", **SMALL)
    noisy = judged(made, clone=[1.0, 1.2, 0.7], constant=[1.1, 1.0, 0.9])
    rewarded = [dataclasses.replace(x, rewards=np.ones(x.steps)) for x in tremor(3)]
    done = ro.clone(rewarded, policy="linear", **SMALL).demonstrations
    assert done is not None
    assert "shows that the clone has learned anything" in said(noisy)
    # A success in the environment shows it.
    for successes, told in (([True], False), ([False], True), (None, False)):
        successes = None if successes is None else np.array(successes * 3)
        acted = dataclasses.replace(done, successes=successes)
        acted = dataclasses.replace(noisy, evaluations={"clone": acted})
        assert ("learned anything" in said(acted)) == told
        assert ("judge the clone by its return" in said(acted)) == (successes is None)
    same = judged(made, clone=[1.0, 1.2, 1.1], constant=[1.0, 1.2, 1.1])
    assert "constant: it is no better than always the mean action" in said(same)
    assert "learned anything" not in said(same)
    worse = judged(made, clone=[4.0, 3.9, 4.1], constant=[1.0, 1.0, 1.1])
    assert "more than the baseline constant, 1.03" in said(worse)


def test_a_glitch_is_told_before_the_training():
    episodes = tremor()
    episodes[4].observations[7, 1] = 1e3
    with pytest.warns(UserWarning, match="observation axis 1: .* 1000 at step 7"):
        ro.clone(episodes, policy="linear", **SMALL)


def test_regularization_that_changes_nothing_is_told():
    made = ro.clone(tremor(), dropout=0.5, weight_decay=2.0, past_actions=0, **SMALL)
    assert made.linear_kept
    assert "regularization, dropout 0.5, weight decay 2, is that of" in said(made)
    network = ro.clone(tremor(), policy="mlp", dropout=0.5, **SMALL)
    assert network.description["regularization"] == "dropout 0.5"
    assert "regularization" not in said(network)


def test_quantiles_that_change_nothing_are_told():
    made = ro.clone(tremor(), quantiles=True, past_actions=0, **SMALL)
    assert made.linear_kept and "`quantiles` changes nothing here" in said(made)
    other = ro.clone(tremor(), past_actions=0, **SMALL)
    seen = tremor()[0].observations[0]
    # The same policy, to rounding.
    np.testing.assert_allclose(made.policy(seen), other.policy(seen), rtol=1e-6)
    assert "`quantiles`" not in said(other)
    network = ro.clone(tremor(), policy="mlp", quantiles=True, **SMALL)
    assert "`quantiles`" not in said(network)


def test_actions_that_never_change_are_the_cause_of_an_error_of_zero():
    # Fewer than 100 samples, of which the checks only warn.
    episodes = [
        dataclasses.replace(x, actions=0 * x.actions + 0.3) for x in tremor(4, 20)
    ]
    made = ro.clone(episodes, policy="linear", **SMALL)
    assert first(made).startswith("In the demonstrations the action is 0.3 in every")
    assert "Hold out more" not in said(made)
    # Others hold something to learn, and only the held-out ones never change.
    still = ro.data.Trajectory(np.zeros((9, 2)), np.zeros((8, 1)), 0.05)
    moves = [np.full((8, 1), x) for x in (-1.0, 1.0)]
    moving = [dataclasses.replace(still, actions=x) for x in moves]
    made = ro.clone(moving, held_out=[still], policy="linear", **SMALL)
    assert "Hold out more" in said(made)


def test_a_linear_clone_on_top_of_gravity_compensation_is_called_so():
    env = gymnasium.make("roboopt/ArmReach-v0", duration=0.25)
    expert, _ = ro.imitation.demonstrator(env)
    runs = ro.rollouts.collect(env, expert, episodes=6, seed=0).episodes()
    made = ro.clone(runs, env, policy="linear", episodes=1, **SMALL)
    assert made.description["policy"].endswith(ON_GRAVITY)
    whole, seen = made.policy.policy, np.asarray(runs[0].observations[3])
    assert isinstance(whole.policy, ro.policies.LinearPolicy)
    effort = whole.robot.value.gravity_effort(seen[:2]) + whole.policy(seen)
    np.testing.assert_allclose(whole(seen), effort, rtol=1e-9)
    words = {**made.description, "policy": made.description["policy"] + NO_BETTER}
    kept = dataclasses.replace(made, description=words)
    assert f"The clone is the linear policy{ON_GRAVITY}: on demon" in said(kept)
    env.close()
