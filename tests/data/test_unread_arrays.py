"""Arrays of joints that cannot be read are named, not missing."""

import numpy as np
import pytest

from roboopt.data import load_recordings

COUNT = 300
TIMES = 0.01 * np.arange(COUNT)
Q = np.stack([np.sin(TIMES), np.cos(TIMES)], 1)
JOINTS = ["a", "b"]


def saved(tmp_path, **arrays):
    np.savez(
        path := tmp_path / "x.npz", **{"t": TIMES, "q": Q, "dq": Q, "tau": Q, **arrays}
    )
    return path


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("name", ["q", "tau"])
def test_arrays_of_another_count_are_named(tmp_path, name, in_memory):
    source = saved(tmp_path, **{name: Q[:200]})
    if in_memory:
        source = {"t": TIMES, "q": Q, "dq": Q, "tau": Q, name: Q[:200]}
    with pytest.raises(ValueError, match=rf"{name} has shape \(200, 2\).* 300 "):
        load_recordings(source, joints=JOINTS)


def test_arrays_of_another_count_may_lie_beside(tmp_path):
    path = saved(tmp_path, tau_cmd=Q[:200])
    (run,) = load_recordings(path, joints=JOINTS)
    assert run.steps == COUNT - 1
    path = saved(tmp_path, tau=Q[:200])  # Nothing drives the joints.
    (run,) = load_recordings(path, joints=JOINTS, actuated=[])
    assert run.steps == COUNT - 1


@pytest.mark.parametrize("name, what", [("q", "positions"), ("tau", "efforts")])
def test_objects_in_place_of_numbers_are_named(tmp_path, name, what):
    objects = np.array([*Q[:-1].tolist(), None], object)
    path = saved(tmp_path, **{name: objects})
    with pytest.raises(ValueError, match=f"`{name}` of .*{what}.* objects"):
        load_recordings(path, joints=JOINTS)
    texts = {"t": TIMES, "q": Q, "tau": Q, name: np.array([str(x) for x in Q])}
    with pytest.raises(ValueError, match=f"`{name}` of .*{what}"):
        load_recordings(texts, joints=JOINTS)


@pytest.mark.parametrize("form", ["npz", "hdf5", "dict"])
def test_images_beside_the_joints_are_named(tmp_path, form):
    arrays = {
        "t": TIMES,
        "q": Q,
        "dq": Q,
        "tau": Q,
        "image": np.zeros((COUNT, 2, 2, 3)),
    }
    source = {"npz": tmp_path / "x.npz", "hdf5": tmp_path / "x.h5"}.get(form, arrays)
    if form == "npz":
        np.savez(source, **arrays)
    elif form == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(source, "w") as file:
            for name, value in arrays.items():
                file[name] = value
    with pytest.warns(UserWarning, match="image left out: images or groups"):
        (run,) = load_recordings(source, joints=JOINTS)
    assert run.steps == COUNT - 1
