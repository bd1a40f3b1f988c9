"""What importing the package does, and what it needs."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import roboopt_envs

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
    assert {f"roboopt/{name}" for name in names} <= set(gymnasium.registry)


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
