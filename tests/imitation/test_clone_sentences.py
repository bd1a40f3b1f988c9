"""The sentences about a clone agree with its numbers, and name what is there."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._flags import flags_named
from roboopt.cli.clone import Clone

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


def test_a_clone_that_sees_its_past_actions_says_so():
    made = ro.clone(tremor(), **SMALL)
    assert made.linear_kept
    assert "linear policy of the last observation and 3 past actions:" in said(made)
    other = dataclasses.replace(made, errors={"clone": 2.0, "linear": 1.0})
    assert "`past_actions` 0 leaves them out" in said(other)
    assert 'linear" does better' not in said(other)


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
