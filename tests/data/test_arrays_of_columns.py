"""Two arrays of one quantity: the error says how to choose, and one name is enough."""

import numpy as np
import pytest

import roboopt as ro
from roboopt.cli import main
from roboopt.data import load_recordings

JOINTS = ["cart", "pole"]
TIME = np.arange(9) * 0.1


def table(path, names):
    header = ",".join(["time", *names])
    rows = np.stack([TIME, *(k + np.sin(TIME + k) for k in range(len(names)))], 1)
    np.savetxt(path, rows, delimiter=",", header=header, comments="")
    return path


@pytest.mark.parametrize("form", ["{}_0,{}_1", "{}_1,{}_2", "{}[0],{}[1]", "{}0,{}1"])
def test_the_name_of_an_array_stands_for_its_columns(form, tmp_path):
    every = [form.format(*[n] * 2) for n in ("q", "dq", "tau_measured", "tau_feedback")]
    path = table(tmp_path / "a.csv", ",".join(every).split(","))
    choice = r"must hold one of the efforts of joint .*; choose one, as in `efforts="
    with pytest.raises(ro.RobooptError, match=choice + r"\['tau_measured'\]`"):
        load_recordings(path, joints=JOINTS)
    for name, first in (("tau_measured", 4), ("tau_feedback", 6)):
        (run,) = load_recordings(path, joints=JOINTS, columns={"efforts": [name]})
        expected = [first + np.sin(TIME + first), first + 1 + np.sin(TIME + first + 1)]
        np.testing.assert_allclose(run.actions, np.stack(expected, 1)[:-1], rtol=1e-9)
    with pytest.raises(ro.RobooptError, match=r"has no \['tau'\]"):
        load_recordings(path, joints=JOINTS, columns={"efforts": ["tau"]})


def test_columns_of_an_array_may_be_called_by_joints_or_by_those_driven(tmp_path):
    names = "q_cart,q_pole,dq_cart,dq_pole,tau_measured_pole,tau_measured_cart"
    path = table(tmp_path / "a.csv", [*names.split(","), "tau_feedback_cart"])
    (run,) = load_recordings(path, joints=JOINTS, columns={"efforts": ["tau_measured"]})
    assert run.actions[0, 0] == pytest.approx(5 + np.sin(5), rel=1e-9)


def test_the_command_says_which_flag_chooses(tmp_path, capsys):
    names = "q_0,q_1,dq_0,dq_1,tau_measured_0,tau_measured_1,tau_feedback_0"
    table(tmp_path / "a.csv", [*names.split(","), "tau_feedback_1"])
    urdf = tmp_path / "robot.urdf"
    from roboopt_envs.cart_pole import URDF

    with open(URDF) as file:
        urdf.write_text(file.read())
    line = ["identify", f"{tmp_path}/a.csv", "--urdf", str(urdf), "--actuated", "all"]
    assert main([*line, "--runs", str(tmp_path)]) == 2
    assert "choose one, as in --efforts tau_measured: name" in capsys.readouterr().err
