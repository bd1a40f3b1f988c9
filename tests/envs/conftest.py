"""The environments that share a contract, made by name."""

from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest
import roboopt_envs  # noqa: F401  registers the environments

from .urdfs import gantry

FURUTA = Path(__file__).parents[2] / "examples" / "furuta" / "furuta.urdf"
SPECS = {
    "balance": ("roboopt/CartPoleBalance-v0", {}),
    "swing-up": ("roboopt/CartPoleSwingUp-v0", {}),
    "two-link": ("roboopt/ArmReach-v0", {}),
    "iiwa": ("roboopt/ArmReach-v0", {"robot": "iiwa"}),
    "panda": ("roboopt/ArmReach-v0", {"robot": "panda"}),
    "gantry": ("roboopt/ArmReach-v0", {}),
    "track": ("roboopt/ArmTrack-v0", {}),
    "furuta": ("roboopt/RobotTask-v0", {"robot": str(FURUTA)}),
}
SLOW = ("iiwa",)  # The Panda has as many axes, and a hand.


@pytest.fixture(scope="session")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, dict]]:
    """Id and arguments of each environment; the gantry's URDF is a user's."""
    path = tmp_path_factory.mktemp("urdf") / "gantry.urdf"
    path.write_text(gantry())
    return SPECS | {"gantry": ("roboopt/ArmReach-v0", {"robot": str(path)})}


@pytest.fixture(
    params=[pytest.param(x, marks=[pytest.mark.slow] * (x in SLOW)) for x in SPECS]
)
def spec(request: pytest.FixtureRequest, specs: dict) -> tuple[str, dict]:
    """Id and arguments of one environment after the other."""
    return specs[request.param]


@pytest.fixture
def make(spec: tuple[str, dict]):
    """Return what makes that environment, unwrapped; all are closed in the end."""
    made = []

    def make_one(**kwargs):
        name, fixed = spec
        made.append(gymnasium.make(name, **fixed, **kwargs).unwrapped)
        return made[-1]

    yield make_one
    for env in made:
        env.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return what writes a URDF to a file."""

    def write_one(text: str) -> Path:
        path = tmp_path / "robot.urdf"
        path.write_text(text)
        return path

    return write_one
