"""What importing the package does, and what it needs."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import roboopt_envs

from roboopt import RobooptError

SOURCE = Path(roboopt_envs.__file__).parents[1]


def run(script: str, *flags: str) -> str:
    """Return what a script prints in a process that has just the source on its path."""
    script = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {script}"
    return subprocess.run(
        [sys.executable, *flags, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_ids_are_registered():
    names = {"CartPoleBalance-v0", "CartPoleSwingUp-v0", "ArmReach-v0", "RobotTask-v0"}
    names |= {"ArmTrack-v0"}
    assert {f"roboopt/{name}" for name in names} <= set(gymnasium.registry)


WRONG = {
    "a keyword of another": ({"urdf": "a.urdf"}, "`urdf` must be left out for .*robot"),
    "a misspelt keyword": ({"duraton": 1.0}, "`duraton`.*did you mean `duration`"),
    "text for a number": ({"duration": "2"}, "`duration` must be a number, got '2'"),
    "a number for a name": ({"tool": 3}, "`tool` must be text or None, got 3"),
    "a number for a path": ({"robot": 5}, "`robot` must be text or a path, got 5"),
    "text for a switch": ({"repair": "yes"}, "`repair` must be True or False"),
    "no mapping": ({"xacro_args": "a"}, "`xacro_args` must be of type Mapping"),
    "a number of pixels": ({"width": 48.5}, "`width` must be a whole number"),
}


@pytest.mark.parametrize("keywords, text", WRONG.values(), ids=WRONG)
def test_a_wrong_keyword_or_type_is_named(keywords, text):
    with pytest.raises(RobooptError, match=text):
        gymnasium.make("roboopt/ArmReach-v0", **keywords)


def test_a_missing_robot_and_other_environments_are_named():
    with pytest.raises(RobooptError, match="RobotTask: missing .*'robot'"):
        gymnasium.make("roboopt/RobotTask-v0")
    with pytest.raises(RobooptError, match="left out for CartPoleBalance.*duration"):
        gymnasium.make("roboopt/CartPoleBalance-v0", robot="a.urdf")


def test_numbers_of_numpy_are_numbers():
    numbers = {"duration": np.float32(0.5), "width": np.int64(64), "height": 48}
    env = gymnasium.make("roboopt/ArmReach-v0", repair=True, **numbers)
    assert getattr(env.unwrapped, "horizon", None) == 120
    env.close()


def test_importing_loads_no_simulator():
    script = "import roboopt_envs; print('pybullet' in sys.modules)"
    assert run(script).splitlines()[-1] == "False"


def test_tasks_need_neither_gymnasium_nor_pybullet():
    script = (
        "sys.modules['gymnasium'] = sys.modules['pybullet'] = None;"
        "import roboopt_envs.tasks; print(roboopt_envs.tasks.Balance().rail)"
    )
    assert run(script) == "2.4\n"


def test_environments_need_no_jax():
    # Not even where the URDF is checked, which roboopt does.
    script = (
        "from roboopt_envs.arm import ArmReach; ArmReach('two-link').reset();"
        "print({'jax', 'equinox'} & set(sys.modules))"
    )
    assert run(script).splitlines()[-1] == "set()"


def test_importing_pybullet_prints_nothing():
    script = "import roboopt_envs; roboopt_envs.import_pybullet_silently()"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""


def test_missing_pybullet_is_named():
    script = (
        "sys.modules['pybullet'] = None\n"
        "try: import roboopt_envs.cart_pole\n"
        "except ImportError as error: print(error)"
    )
    assert "need PyBullet: pip install" in run(script)


def test_making_one_prints_nothing():
    # PyBullet writes past Python's own stdout; imports are its own affair.
    script = (
        "import roboopt_envs.arm as arm; print('imported', flush=True);"
        "[arm.ArmReach(robot).reset() for robot in ('two-link', 'iiwa', 'panda')]"
    )
    assert run(script).split("imported")[1].strip() == ""
