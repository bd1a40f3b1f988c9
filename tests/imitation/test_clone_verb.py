"""`clone`: what ends it before the training, and what cannot take the clone away."""

import warnings

import gymnasium
import numpy as np
import pytest

import roboopt as ro
from roboopt.report import Drawing, Figure


class Still(gymnasium.Env):
    """A point that stays where it is, in episodes that nothing ends."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), 0.0, False, False, {}


class Stuck(Still):
    """One that fails."""

    def step(self, action):
        raise RuntimeError("the gripper is stuck")


def shown():
    rows = np.zeros((5, 1)), np.zeros((4, 1))
    return [ro.data.Trajectory(*rows, time_step=1.0) for _ in range(2)]


@pytest.mark.parametrize("env", [None, Still])
def test_figures_have_the_names_of_the_columns(tmp_path, env):
    path = tmp_path / "demonstrations.csv"
    rows = [
        f"{episode},{k / 10},{np.sin(k + episode)},{np.cos(k)},0"
        for episode in range(4)
        for k in range(9)
    ]
    header = "episode,time,obs_x [m],action_push [N],action_grip"
    if env is not None:  # of one axis
        header = header.rpartition(",")[0]
        rows = [row.rpartition(",")[0] for row in rows]
    path.write_text("\n".join([header, *rows]))
    with pytest.warns(UserWarning, match="as many observations as actions"):
        made = ro.clone(path, env, policy="linear", steps=1, max_steps=env and 5)
    figures = [
        block
        for section in made.sections(video=False)
        for block in section.blocks
        if isinstance(block, Figure)
    ]
    drawn = [panel for figure in figures for panel in figure.panels]
    titles = {panel.title for panel in drawn if isinstance(panel, Drawing)}
    [bars] = [x for x in drawn if isinstance(x, Drawing) and "by action" in x.title]
    names = [label.get_text() for label in bars.axes.get_xticklabels()]
    if env is None:
        assert names == ["push", "grip"] and bars.axes.get_xlabel() == "action_…"
        assert "action axis 1, action_grip: " in str(made.findings[0])
    else:
        assert {"obs_x", "action_push"} <= titles and names == ["action_push"]


def test_an_environment_that_never_ends_is_noticed_before_the_training():
    with pytest.raises(ro.RobooptError, match="`max_steps`"):
        ro.clone(shown(), Still, steps=10**9)


@pytest.mark.parametrize("env, processes", [(Still(), 1), (Still, -1)])
def test_processes_that_cannot_be_are_refused_before_the_training(env, processes):
    with pytest.raises(ro.RobooptError, match="`env` must|`processes` must"):
        ro.clone(shown(), env, steps=10**9, max_steps=5, processes=processes)


def test_a_clone_is_kept_where_its_evaluation_fails():
    made = ro.clone(shown(), Stuck, steps=2, width=4, depth=1, max_steps=5)
    assert "stuck, at step 0 of its episode" in str(made)
    assert made.evaluations == {} and np.isfinite(made.policy(np.zeros(1))).all()


def test_the_end_of_a_single_episode_is_held_out():
    # a = 2 o holds in the first 80 %, and a = −2 o after: only that is held out.
    observations = np.linspace(-1.0, 1.0, 100)[:, None]
    observations = observations[np.random.default_rng(0).permutation(100)]
    actions = np.where(np.arange(100)[:, None] < 80, 2.0, -2.0) * observations
    made = ro.clone((observations, actions), held_out=0.2, steps=500, width=16, seed=0)
    assert made.mismatch["training"] < 0.1 < made.mismatch["held out"]
    assert "only episode" in made.record()["training"]["samples"]
    assert sum(map(len, made.error_over_time)) == 20


def test_a_single_sample_cannot_be_cloned():
    with pytest.raises(ro.RobooptError, match="`demonstrations`.*two samples"):
        ro.clone((np.zeros((1, 1)), np.zeros((1, 1))), steps=2)


def test_messages_of_several_faults_are_joined_without_full_stops():
    bad = ro.data.Trajectory(np.full((5, 1), np.nan), np.full((4, 1), np.nan), 1.0)
    with pytest.raises(ro.RobooptError) as error:
        ro.clone([bad, bad], steps=2)
    assert ".;" not in str(error.value) and not str(error.value).endswith("..")


def test_the_environment_tells_the_time_step_that_the_demonstrations_do_not(tmp_path):
    rng = np.random.default_rng(0)
    turn = rng.uniform(-3, 3, 201)
    seen = np.stack([np.cos(turn), np.sin(turn), rng.normal(size=201)], 1)
    done = seen[:-1, 1:2].copy()
    brief = {"policy": "linear", "steps": 1, "episodes": 1, "max_steps": 5}
    made = ro.clone((seen[:-1], done), "Pendulum-v1", **brief)
    assert made.time_step == 0.05
    np.savez(tmp_path / "demos.npz", observations=seen, actions=done)
    with pytest.warns(UserWarning, match=r"0\.05 s is assumed"):
        made = ro.clone(tmp_path / "demos.npz", "Pendulum-v1", **brief)
    assert made.time_step == 0.05 and "time step" not in str(made)
    made = ro.clone(ro.data.Trajectory(seen, done, 0.02), "Pendulum-v1", **brief)
    said = "the time step is 0.02 s, but the clone acts every 0.05 s"
    assert made.time_step == 0.02 and said in " ".join(str(made).split())
    with pytest.warns(UserWarning, match="1 s is assumed"):
        made = ro.clone(tmp_path / "demos.npz", policy="linear", steps=1)
    assert made.time_step is None
    assert made.summary().title == "Cloning demos.npz"


@pytest.mark.parametrize("given, axis", [(None, "step"), (0.1, "time [s]")])
def test_motions_without_a_known_time_step_are_over_steps(given, axis):
    brief = {"policy": "linear", "steps": 1, "episodes": 1, "max_steps": 5}
    arrays = shown()[0].observations, np.zeros((5, 1))
    made = ro.clone(arrays, Still, time_step=given, **brief)
    drawn = {s.title: s.html() for s in made.sections(video=False)}
    for title in ("The error by action", "Motions"):
        assert f'data-axis="{axis}"' in drawn[title]
    assert ('data-axis="time [s]"' in "".join(drawn.values())) == bool(given)


@pytest.mark.parametrize(
    "unit, told",
    [
        pytest.param(1.0, False, marks=pytest.mark.slow),
        (1000.0, True),
        pytest.param(-5.0, True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("few_layers")
def test_velocities_in_another_unit_than_the_positions_are_told(unit, told):
    # x decays to 0 at 1 / s in steps of 0.1 s.
    starts, factor = (
        np.array([[1.0, 0.5], [0.8, 0.6], [1.2, 0.4]]),
        0.9 ** np.arange(31),
    )
    motions = [
        ro.data.Trajectory(
            factor[:, None] * start, -unit * factor[:-1, None] * start, time_step=0.1
        )
        for start in starts
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ro.clone(motions, policy="stable", steps=1, width=4, depth=1, validation=0)
    said = [str(w.message) for w in caught if "rate of change" in str(w.message)]
    assert len(said) == told
    assert all(f"are {unit:.4g} times" in one for one in said)


def test_actions_that_are_true_or_false_are_choices_in_a_trajectory_too():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(4, 9, 1))
    runs = [ro.data.Trajectory(x, x[:-1] > 0, time_step=0.1) for x in seen]
    assert ro.clone(runs, policy="categorical", steps=1, width=4, depth=1).discrete


def test_recorded_returns_are_told_whatever_the_time_steps():
    rng = np.random.default_rng(0)
    runs = [
        ro.data.Trajectory(
            rng.normal(size=(6, 1)),
            rng.normal(size=(5, 1)),
            time_step=0.1 * k,
            rewards=np.full(5, float(k)),
        )
        for k in (1, 2, 3, 4)
    ]
    aside = {"held_out": runs[3:], "validation": 0}
    made = ro.clone(runs[:3], policy="linear", steps=1, **aside)
    assert made.demonstrations is not None
    np.testing.assert_allclose(sorted(made.demonstrations.returns), [5.0, 10.0, 15.0])
