import pytest
from bullet_robots import ROBOTS, Body, write_random_robot


@pytest.fixture(scope="session", params=sorted(ROBOTS))
def robot_body(request):
    """Each robot as its file has it, in PyBullet."""
    return Body(ROBOTS[request.param])


@pytest.fixture(scope="session", params=range(3))
def random_path(request, tmp_path_factory):
    """A random tree of links, as a file."""
    seed = request.param
    path = tmp_path_factory.mktemp("robots") / f"random{seed}.urdf"
    return write_random_robot(path, seed)
