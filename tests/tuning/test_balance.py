"""`tune` on robots that balance: from the file alone, and by tasks of ten lines."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from roboopt_envs.robot import RobotTask
from roboopt_envs.tasks import named_task

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._results import load_shown
from roboopt.policies import LinearFeedback
from roboopt.rollouts import robot_notes
from roboopt.tuning import TuningProblem, run_name, tune

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*has passive joints:UserWarning",
    "ignore:the URDF has no effort limit:UserWarning",
)
ROOT = Path(__file__).parents[2]
FURUTA = ROOT / "examples" / "furuta" / "furuta.urdf"
ARM = ROOT / "examples" / "double_pendulum" / "double_pendulum.urdf"
CASES = ROOT / "tests" / "cases" / "balance"
FILES = {path.stem: path for path in [FURUTA, *CASES.glob("*.urdf")]}
SMALL: dict[str, Any] = {"steps": 1, "starts": 2, "episodes": 3, "duration": 0.3}
FLAGS = {
    "point_mass_pendulum": "",
    "point_mass_cart": "--actuated slide",
    "cart_pole": "",
    "furuta": "",
    "acrobot": "--start-half-width 0.03",
}
TASK = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Up:
    """Hold the pendulum up, wherever the arm is."""

    formula = "25 cos 3"

    def cost_rate(self, observation, action):
        up = (observation[..., 1] - 3.1416) ** 2
        return 25 * up + 0.1 * (observation**2)[..., [0, 2, 3]].sum(-1)

    def success(self, observations, time_step):
        return (abs(observations[..., -240:, 1] - 3.1416) < 0.05).all(-1)
'''


@dataclass(frozen=True)
class Up:
    """The same, in this module."""

    def cost_rate(self, observation, action):
        up = (observation[..., 1] - np.pi) ** 2
        return 25 * up + 0.1 * (observation**2)[..., [0, 2, 3]].sum(-1)

    def success(self, observations, time_step):
        return (abs(observations[..., -240:, 1] - np.pi) < 0.05).all(-1)


@pytest.fixture(scope="module")
def tuned() -> Any:
    return tune(urdf=FURUTA, task="balance", **SMALL)


def test_a_file_and_the_word_balance_are_enough(tuned):
    assert tuned.title == "Tuning furuta to balance"
    assert isinstance(tuned.before.policy, LinearFeedback)
    assert "regulator" in tuned.notes["controller"]
    assert tuned.notes["motors"] == "drive motor_shaft; passive: bearing"
    assert tuned.notes["upright"] == "motor_shaft 0, bearing 3.142 [rad or m]"
    assert max(tuned.comparison.gaps["after"].values()) < 1e-11
    assert tuned.motions["after"].observations.shape == (3, 73, 4)
    assert not np.asarray(tuned.motions["after"].efforts)[..., 1].any()
    assert tuned.env.options["robot"] == str(FURUTA)


@pytest.mark.slow
def test_the_report_draws_the_target(tuned, tmp_path):
    tuned.save(tmp_path)
    loaded: Any = ro.load(tmp_path)
    assert str(loaded) == str(tuned)
    made = {section.title: section for section in loaded.sections(video=False)}
    drawn = made["Motions before and after"].html()
    assert drawn.count('data-key="goal"') == len(loaded.objective.task.target) == 2


@pytest.mark.parametrize("target, told", [((0.0, 0.5), True), ((0.5, 0.5), False)])
def test_upright_is_told_of_driven_robots_whose_task_is_to_be_there(target, told):
    robot: dict[str, Any] = {"joint_names": ("a", "b"), "upright": (0.0, 0.5)}
    own = SimpleNamespace(**robot, actuated=(0, 1), task=SimpleNamespace(target=target))
    assert ("upright" in robot_notes(own)) == told
    del own.task.target
    assert "upright" not in robot_notes(own)
    passive = SimpleNamespace(**robot, actuated=(0,), task=own.task)
    assert robot_notes(passive)["upright"] == "a 0, b 0.5 [rad or m]"


def test_a_task_of_ones_own_is_an_object_or_its_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_task.py").write_text(TASK)
    for task in (Up(), "own_task:Up", f"{tmp_path}/own_task.py:Up"):
        assert run_name(None, task, None, FURUTA, None) == "furuta-Up"
        problem = TuningProblem.of(urdf=FURUTA, task=task, starts=1, duration=0.1)
        assert type(problem.objective.task).__name__ == "Up"
        # The regulator of this cost pays for leaving upright, hardly for the arm.
        assert problem.controller.gains.shape == (1, 4)
        problem.env.close()
    (tmp_path / "own_task.py").unlink()  # A run elsewhere names the file that moved.
    assert type(named_task("own_task.py:Up")).__name__ == "Up"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the report lacks:UserWarning")
def test_a_run_with_a_task_of_ones_own_is_explained(tmp_path, capsys):
    (tmp_path / "task_of_run.py").write_text(TASK)
    task, folder = f"{tmp_path}/task_of_run.py:Up", str(tmp_path / "run")
    tune(urdf=FURUTA, task=task, **SMALL).save(folder)
    assert main(["explain", folder]) == 2
    assert "--allow task_of_run" in capsys.readouterr().err
    assert main(["explain", folder, "--allow", task]) == 0
    assert capsys.readouterr().out.count("The gradient at a loss of") == 2
    moved = str(tmp_path / "moved")
    shutil.move(folder, moved)
    assert main(["report", moved]) == 0
    assert "no video" not in capsys.readouterr().out
    page = (tmp_path / "moved" / "report.html").read_text()
    assert "Motions before and after" in page and "cos 3" in page
    motions = load_shown(tmp_path / "moved", "path")[0].robot_motions()
    assert motions is not None and motions.starts == 3


@pytest.mark.slow
def test_an_environment_is_taken_as_it_is():
    env = RobotTask(FURUTA, duration=0.1)
    found: Any = tune(env, starts=1, episodes=2, steps=1)
    assert isinstance(found.before.policy, LinearFeedback)
    env.close()


WRONG = [
    (
        {"task": "balanc", "urdf": FURUTA},
        "`task` must be one of reach, track, balance.*mean balance",
    ),
    ({"env": "robot"}, "`urdf` must be given for robot"),
    ({"env": "robot", "robot": "iiwa"}, "`robot` is for arm, got robot"),
    ({"task": "reach", "urdf": FURUTA}, "a motor at every joint.*such as balance"),
    ({"task": "no_module:TASK", "urdf": FURUTA}, "`task` no_module:TASK cannot be"),
]


def test_starts_beyond_the_memory_are_refused_with_the_estimate():
    with pytest.raises(ro.RobooptError) as error:
        tune("cart-pole", starts=10**8, steps=1)
    said = r"`starts` must be at most \d+, got 100000000: .* kB each, [\d.e+]+ GB"
    assert re.match(said, str(error.value))


@pytest.mark.parametrize("arguments, said", WRONG)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ro.RobooptError, match=said):
        tune(**arguments, **SMALL)


@pytest.mark.slow
def test_the_command_says_what_drives_and_where_upright_is(tmp_path, capsys):
    line = f"tune --urdf {FURUTA} --task balance --steps 1 --starts 2 --episodes 2"
    line += f" --duration 0.2 --no-video --runs {tmp_path}"
    assert main(line.split()) == 0
    said = capsys.readouterr()
    assert "motors: drive motor_shaft; passive: bearing\n" in said.err
    assert "upright: motor_shaft 0, bearing 3.142 [rad or m]\n" in said.err
    page = (tmp_path / "furuta-balance" / "report.html").read_text("utf-8")
    assert "Motors: drive motor_shaft; passive: bearing." in page


@pytest.mark.slow
def test_the_tool_of_an_arm_is_named_with_the_reason(tmp_path, capsys):
    line = f"tune --urdf {ARM} --steps 1 --starts 1 --episodes 1 --duration 0.1"
    assert main([*line.split(), "--no-video", "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    notes = " ".join(said.split())  # in several lines
    assert re.search(r"tool: origin of link \w+, .*, moved by 2 of 2 joints; ", notes)
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("name", FLAGS)
def test_every_foreign_file_balances_by_the_command(name, tmp_path):
    line = f"tune --urdf {FILES[name]} --task balance {FLAGS[name]}"
    assert main([*line.split(), "--runs", str(tmp_path)]) == 0
    found: Any = ro.load(tmp_path / f"{name}-balance")
    assert found.comparison.successes["PyBullet"]["after"] >= 95
    rows = {row.name: row.pybullet for row in found.comparison.rows}
    # The regulator of a desktop pendulum leaves the descent nothing to gain.
    assert rows["objective"][1] <= rows["objective"][0] * (1 + 1e-9)
    driven = list(found.joints.driven)
    assert not np.delete(found.motions["after"].efforts, driven, axis=-1).any()
    settings = json.loads((tmp_path / f"{name}-balance/settings.json").read_text())
    assert settings["flags"]["task"] == "balance"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["point_mass_cart", "furuta"])
def test_ten_lines_balance(name):
    options = {"actuated": ["slide"]} if name == "point_mass_cart" else {}
    found: Any = tune(urdf=FILES[name], task="balance", options=options)
    assert found.comparison.successes["PyBullet"]["after"] >= 95


@pytest.mark.slow
def test_a_task_of_ten_lines_balances():
    found: Any = tune(urdf=FURUTA, task=Up())
    assert found.comparison.successes["PyBullet"]["after"] >= 95
