"""`ro.tune`: the verb, from names to a tested controller."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from browser import check_page
from roboopt_envs.cart_pole import URDF, CartPoleBalance
from roboopt_envs.tasks import Balance

import roboopt as ro
from roboopt.policies import Clipped, EnergyShapingSwingUp, LinearFeedback
from roboopt.tuning import TuneResult, TuningProblem, run_name, tune
from roboopt.tuning._environment import left_out

TINY: dict[str, Any] = {"steps": 1, "starts": 1, "episodes": 2, "duration": 0.1}


@pytest.fixture(scope="module")
def tuned() -> Any:
    return tune("cart-pole", steps=3, duration=0.5, starts=2, episodes=3)


@pytest.fixture
def no_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `tune` keep the starting controller: a test is of all but the descent."""

    def stay(problem: Any, **_: Any) -> ro.Result:
        names = "loss", "task_cost", "mechanical_work", "joule_loss"
        history = {name: np.ones(1) for name in names}
        return ro.Result(problem.controller, 1.0, history, "steps", "", 0, 0.0, 0.0)

    monkeypatch.setattr("roboopt.tuning._tune.descend", stay)


def test_a_controller_is_tuned_and_tested(tuned: Any):
    assert issubclass(type(tuned), TuneResult) and not tuned.interrupted
    assert tuned.motions["after"].actions.shape == (3, 120, 1)
    assert max(tuned.comparison.gaps["after"].values()) < 1e-12
    rows = {row.name: row.values for row in tuned.comparison.rows}
    assert rows["objective"]["twin"]["after"] < rows["objective"]["twin"]["before"]
    action = tuned.controller(jnp.array([9.0, 9.0, 9.0, 9.0]))
    assert np.abs(action) <= 10.0  # within the effort limit


def test_the_objective_is_weighed_by_what_energy_takes_at_first(tuned):
    # By default energy has a tenth of the task cost's share at the start.
    first = {name: values[0] for name, values in tuned.result.history.items()}
    energy = first["mechanical_work"] + first["joule_loss"]
    weight = tuned.objective.work_weight
    assert weight == tuned.objective.joule_weight
    np.testing.assert_allclose(weight * energy, 0.1 * first["task_cost"], rtol=1e-9)


def test_the_summary_names_the_formula_and_the_starts(tuned):
    text = str(tuned)
    for name in ("task cost [s]", "mechanical work [J]", "Joule loss [J]"):
        assert name in text
    assert "peak force [N]" in text and "success [of 3 test starts]" in text
    said = " ".join(tuned.summary().sentences)
    assert "c = (x / 0.5 m)²" in said and "succeeds if" in said
    weight = f"+ {tuned.objective.work_weight:g}/J · mechanical work"
    assert f"The objective is task cost [s] {weight}" in said
    assert "<table" in tuned._repr_html_()


def test_the_settings_decide_the_result(tuned):
    settings = tuned.record()
    assert settings["run"] == {"steps": 3, "starts": 2, "test_seed": 1_000_003}
    assert settings["environment"]["horizon"] == 120
    assert settings["environment"]["task"]["Balance"]["angle_scale"] == 0.2
    assert settings["objective"]["task_weight"] == 1.0


def test_files_are_written(tuned, tmp_path):
    tuned.write_files(tmp_path)
    text = (tmp_path / "history.csv").read_text()
    header, *rows = csv.reader(text.splitlines())
    terms = {"task_cost [s]", "mechanical_work [J]", "joule_loss [J]"}
    states = "cart [N/m]", "pole [N/rad]", "cart velocity [N·s/m]"
    states += ("pole velocity [N·s/rad]",)
    gains = {f"gains[cart, {s.replace(' [', '] [')}" for s in states}
    slopes = {f"dL/d {gain.rpartition(' [')[0]}" for gain in gains}
    names = {*terms, *ro.optimize.NOTES, *gains, *slopes, "round"}
    assert header[:2] == ["step", "loss"] and set(header[2:]) == names
    assert len(rows) == len(tuned.result.history["loss"])
    motions = ro.Trajectory.load(tmp_path / "before.npz")
    np.testing.assert_array_equal(motions.actions, tuned.motions["before"].actions)
    assert motions.efforts is not None


def test_a_saved_result_renders_the_same(tuned: Any, tmp_path):
    tuned.save(tmp_path)
    loaded = ro.load(tmp_path)
    assert loaded.comparison == tuned.comparison and str(loaded) == str(tuned)
    assert len(loaded.sections(video=False)) == 8


def test_the_gradient_says_why_the_gains_moved(tuned: Any):
    found = tuned.gradients()
    history = tuned.result.history["loss"]
    np.testing.assert_allclose(found["start"].loss, history[0], rtol=1e-9)
    after = tuned.objective(tuned.controller.policy, tuned.starts)
    np.testing.assert_allclose(found["end"].loss, after, rtol=1e-9)
    assert found["start"].units == ("N/m", "N/rad", "N·s/m", "N·s/rad")
    assert found["start"].gradient_norm > 0


def test_ctrl_c_in_the_test_keeps_the_controller(monkeypatch, no_descent):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("roboopt.tuning._tune.collect", interrupt)
    found: Any = tune("cart-pole", **TINY)
    assert found.interrupted and found.comparison is None and not found.motions
    assert found.controller is not None and "Ctrl-C" in str(found)
    assert [section.title for section in found.sections()][0] == "The descent"


def test_ctrl_c_before_the_first_step_keeps_nothing(monkeypatch):
    nothing = ro.Result(
        None, np.inf, {"loss": np.zeros(0)}, "interrupted", "", 0, 0.0, 0.0
    )
    monkeypatch.setattr("roboopt.tuning._rounds.minimize", lambda *a, **k: nothing)
    with pytest.raises(KeyboardInterrupt):
        tune("cart-pole", **TINY)


def test_the_first_controller_follows_from_the_robot_and_its_starts():
    kinds = {}
    for task in ("balance", "swing-up"):
        problem = TuningProblem.of("cart-pole", task=task, duration=0.1, starts=1)
        kinds[task] = type(problem.controller)
        problem.env.close()
    assert kinds == {"balance": LinearFeedback, "swing-up": EnergyShapingSwingUp}


def test_any_environment_with_a_twin_is_taken(no_descent):
    env = gymnasium.make("roboopt/CartPoleBalance-v0", duration=0.1)
    start = LinearFeedback(jnp.array([[-1.0, -30.0, -3.0, -8.0]]))
    task = Balance(angle_scale=0.1)
    found: Any = tune(env, controller=start, task=task, starts=1, episodes=2, steps=1)
    assert found.objective.task == task
    np.testing.assert_array_equal(found.before.policy.gains, start.gains)
    assert "angle" not in found.title and found.env.id.endswith("CartPoleBalance-v0")
    env.reset(seed=0)  # The environment of the user stays open.
    env.close()


# Gymnasium's own warning, where it wraps a box without limits.
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_actions_that_are_rescaled_are_respected():
    from gymnasium.wrappers import RescaleAction

    inner = gymnasium.make("roboopt/CartPoleBalance-v0", duration=0.1)
    env = RescaleAction(inner, np.float32(-1.0), np.float32(1.0))
    with pytest.raises(ro.RobooptError, match="`controller` must be given"):
        tune(env, starts=1, episodes=1, steps=1)
    start = LinearFeedback(jnp.array([[-0.2, -4.0, -0.4, -1.0]]))
    found: Any = tune(env, controller=start, starts=1, episodes=2, steps=1)
    assert max(found.comparison.gaps["after"].values()) < 1e-12
    assert np.abs(found.motions["before"].actions).max() <= 1.0
    assert np.abs(found.motions["before"].efforts).max() > 1.0
    env.close()


def test_a_saved_controller_is_tuned_further(tuned, tmp_path):
    tuned.write_files(tmp_path)
    for path in (tmp_path, tmp_path / "controller.npz"):
        problem = TuningProblem.of(controller=path, duration=0.1, starts=1)
        problem.env.close()
        expected = tuned.controller.policy.gains
        np.testing.assert_array_equal(problem.controller.gains, expected)
    assert isinstance(tuned.controller, Clipped)


def test_a_fitted_robot_is_simulated_by_both(tmp_path, no_descent):
    robot = ro.load_urdf(URDF, linear_damping=0.0, angular_damping=0.0)
    robot = eqx.tree_at(
        lambda r: (r.masses, r.friction),
        robot,
        (2 * robot.masses, jnp.array([0.3, 0.001])),
    )
    ro.save(tmp_path / "model.npz", ro.Twin(robot, 1 / 240))
    recorded = {"robot": {"environment": "cart-pole"}}
    (tmp_path / "settings.json").write_text(json.dumps(recorded))
    found: Any = tune(model=tmp_path, **TINY)
    assert max(found.comparison.gaps["after"].values()) < 1e-12
    assert str(tmp_path) in found.notes["robot"]
    motions = found.motions["before"]
    twin = ro.Twin(robot, 1 / 240, actuated=(0,), implicit_damping=True)
    for seen, actions in zip(motions.observations, motions.actions, strict=True):
        for dynamics in (twin, found.objective.rollout.dynamics):
            expected = dynamics(jnp.asarray(seen[4]), jnp.asarray(actions[4]))
            np.testing.assert_allclose(seen[5], expected, rtol=0, atol=1e-12)


def test_quantities_beside_the_robot_are_named():
    class Model:
        names = ("mass[cart]", "lag[cart]", "damping[pole] = effort_gain[cart]")

    assert left_out(Model()) == ("effort_gain", "lag")
    assert left_out(ro.Twin(ro.load_urdf(URDF), 1 / 240)) == ()


def test_runs_are_named_by_robot_and_task():
    def name(env=None, task=None, robot=None, urdf=None):
        return run_name(env, task, robot, urdf, None)

    assert name() == name("cart-pole") == "cart-pole-balance"
    assert name("cart-pole", "swing-up") == "cart-pole-swing-up"
    assert name("arm") == name(robot="two-link") == "two-link-reach"
    assert name("roboopt/ArmReach-v0") == "ArmReach-v0"
    assert name(urdf=Path(URDF)) == "cart_pole-reach"


wrong = [
    ({"env": "cart-pol"}, "`env` must be one of cart-pole, arm.*mean cart-pole"),
    ({"env": "CartPole-v1"}, "has no twin"),
    ({"env": "crane.urdf"}, "got 'crane.urdf': give the file of a robot as `urdf`"),
    ({"env": "cart-pole", "task": "swing"}, "`task` must be one of balance, swing-up"),
    ({"env": "arm", "task": "balance"}, "`task` must be one of reach"),
    ({"env": "arm", "robot": "kuka"}, "`robot` must be one of two-link"),
    ({"env": "cart-pole", "robot": "iiwa"}, "`robot` is for arm, got cart-pole"),
    ({"robot": "iiwa", "urdf": "x.urdf"}, "left out with `urdf`"),
    ({"urdf": "x.urdf"}, "`urdf` must be a file, got x.urdf"),
    ({"steps": 0}, "`steps` must be at least 1, got 0"),
    ({"episodes": -1}, "`episodes` must be at least 1, got -1"),
    ({"processes": -1}, "`processes` must be at least 0, got -1"),
    ({"starts": 0}, "`starts` must be at least 1, got 0"),
    ({"seconds": 0.0}, "`seconds` must be positive, got 0"),
    ({"duration": float("inf")}, "`duration` must be positive and finite, got inf"),
    ({"duration": 1e-9}, "`duration` must be"),
    ({"work_weight": -1.0}, "`work_weight`"),
    ({"joule_weight": float("nan")}, "`joule_weight`"),
    ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ({"model": "none"}, "`model` must be a run of `roboopt identify`"),
    ({"controller": "none"}, "`controller` must be a run"),
]


@pytest.mark.parametrize("arguments, said", wrong)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ro.RobooptError, match=said):
        tune(**arguments)


def test_processes_need_an_environment_that_can_be_made_again():
    env = CartPoleBalance(duration=0.1)
    with pytest.raises(ro.RobooptError, match="`processes` must be 0 unless `env`"):
        tune(env, processes=2, starts=1)
    env.close()


def test_the_robot_of_a_model_is_found_or_asked_for(tmp_path):
    ro.save(tmp_path / "model.npz", ro.Twin(ro.load_urdf(URDF), 1 / 240))
    settings = tmp_path / "settings.json"
    for text in ("", "[]", "{}", '{"robot": 3}', '{"robot": {}}'):
        settings.write_text(text)
        assert run_name(None, None, None, None, tmp_path) == "cart-pole-balance"
    settings.write_text(json.dumps({"robot": {"urdf": "gone.urdf"}}))
    with pytest.raises(ro.RobooptError, match="gone.urdf.*give `urdf`"):
        tune(model=tmp_path)
    settings.write_text(json.dumps({"flags": {"env": "arm", "robot": "iiwa"}}))
    assert run_name(None, None, None, None, tmp_path) == "iiwa-reach"
    with pytest.raises(ro.RobooptError, match="lbr_iiwa_joint_1"):
        tune(model=tmp_path)
    # The arguments count more.
    with pytest.raises(ro.RobooptError, match="must have the joints.*shoulder"):
        tune("arm", robot="two-link", model=tmp_path / "model.npz")


def test_a_model_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ro.RobooptError, match="`model` must be a run"):
        tune("cart-pole", model=tmp_path)
    (tmp_path / "model.npz").write_bytes(b"PK nothing")
    with pytest.raises(ro.RobooptError, match="is not a saved model"):
        tune("cart-pole", model=tmp_path)
    ro.save(tmp_path / "model.npz", LinearFeedback(jnp.ones((1, 4))))
    with pytest.raises(ro.RobooptError, match="got a LinearFeedback"):
        tune("cart-pole", model=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"env": "cart-pole", "task": "swing-up"},
        {"env": "arm"},
        {"robot": "iiwa"},
        {"robot": "panda"},
        {"urdf": URDF.with_name("two_link.urdf")},
    ],
)
def test_every_robot_and_task_goes_through(arguments, tmp_path):
    given: dict[str, Any] = {**TINY, "duration": 0.4}
    found: Any = tune(**arguments, **given)
    found.report(tmp_path / "report.html")
    assert "Video" in (tmp_path / "report.html").read_text("utf-8")
    check_page(tmp_path / "report.html")


def test_worker_processes_test_the_same_motions(no_descent):
    short: dict[str, Any] = {"steps": 1, "starts": 1, "duration": 0.1, "episodes": 3}
    alone, shared = (tune("cart-pole", processes=n, **short) for n in (0, 2))
    for when in ("before", "after"):
        np.testing.assert_allclose(
            shared.motions[when].observations,
            alone.motions[when].observations,
            rtol=0,
            atol=1e-12,
        )


class Errand:
    """A user's task: no dataclass, so no file can hold it."""

    def cost_rate(self, observation, action):
        return (observation[..., 1] / 0.2) ** 2

    def success(self, observations, time_step):
        return abs(observations[..., -1, 1]) < 0.1


def test_steps_of_several_rounds_are_counted_as_the_curves_show(tuned: Any, tmp_path):
    # Two rounds, of one step each: each notes its start, and the axis ends at 3.
    history = {k: np.resize(v, 4) for k, v in tuned.result.history.items()}
    history |= {"round": np.array([1.0, 1, 2, 2]), "loss": np.array([4.0, 3, 9, 8])}
    message = "2 rounds; in the last, 1 step taken"
    found = replace(tuned.result, history=history, steps=2, message=message, loss=8.0)
    several = replace(tuned, result=found)
    several.report(tmp_path / "report.html", video=False)
    kept = "The controller that was kept is of step 1 of round 2"
    assert kept in str(several).replace("\n", " ")
    (descent,) = [s for s in several.sections(video=False) if "descent" in s.title]
    first = descent.blocks[1].panels[0].axes.get_lines()[0]
    np.testing.assert_array_equal(first.get_ydata(), [4, 3, np.nan, 9, 8])


def test_a_result_with_a_plain_task_is_saved_and_reported(no_descent, tmp_path):
    result = tune("cart-pole", task=Errand(), **TINY)
    with pytest.warns(UserWarning, match="objective.task"):
        result.save(tmp_path / "own")
    loaded = ro.load(tmp_path / "own")
    assert "Errand" in loaded.objective.task.description
    loaded.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert 'data-key="goal"' not in page and ">goal<" not in page  # It tells none.
    with pytest.raises(ro.RobooptError, match="`task`"):
        loaded.gradients()
    start = jnp.zeros(4)
    np.testing.assert_array_equal(loaded.controller(start), result.controller(start))


@pytest.mark.parametrize(
    "controller",
    [
        LinearFeedback(jnp.ones((1, 5))),
        LinearFeedback(jnp.ones((2, 4))),
        lambda observation: -observation[:1],
        3.0,
    ],
)
def test_a_controller_that_does_not_fit_is_blamed(controller):
    with pytest.raises(ro.RobooptError, match="^`controller`"):
        tune("cart-pole", controller=controller, **TINY)
