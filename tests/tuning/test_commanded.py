"""Tuning, collecting and cloning where an action is a setpoint at a lower rate."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roboopt_envs.arm

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._environment import keywords_of

SERVO = {
    "resistance": 2.0,
    "torque_constant": 0.02,
    "gear_ratio": (150.0, 120.0),
    "supply_voltage": 12.0,
    "position_gain": 40.0,
}
TWO_LINK = Path(roboopt_envs.arm.__file__).parent / "assets" / "two_link.urdf"
ROBOT = ro.load_urdf(TWO_LINK)
OPTIONS = {"interface": "position", "drive": SERVO, "control_period": 1 / 60}


@pytest.mark.slow
def test_setpoints_of_servos_are_shaped_to_the_task():
    found = ro.tune("arm", options=OPTIONS, steps=4, episodes=2, starts=2, processes=0)
    assert isinstance(found.controller.policy, ro.policies.SetpointShaping)
    assert found.comparison is not None
    after = found.comparison.rows[0].pybullet
    assert after[1] < after[0]
    assert max(found.comparison.gaps["after"].values()) < 1e-9
    environment = found.settings["environment"]
    assert environment["interface"] == "position"
    assert environment["drive"]["gear_ratio"] == (150.0, 120.0)
    assert environment["control_period"] == pytest.approx(1 / 60)


@pytest.mark.slow
@pytest.mark.parametrize("interface", ["position", "velocity"])
def test_setpoints_along_a_trajectory_are_shaped(interface):
    time = np.linspace(0.0, 2.0, 41)
    swing = 1 - np.cos(np.pi * time)
    path = {"time": time, "shoulder": 0.3 * swing, "elbow": 0.4 * swing}
    options = {**OPTIONS, "interface": interface}
    options["drive"] = {**SERVO, "velocity_gain": 4.0}
    arguments: dict[str, Any] = {"steps": 6, "episodes": 2, "starts": 2, "processes": 0}
    found = ro.tune("arm", reference=path, options=options, **arguments)
    assert isinstance(found.controller.policy, ro.policies.SetpointShaping)
    assert found.comparison is not None
    before, after = found.comparison.rows[0].pybullet
    assert after < 0.7 * before
    assert max(found.comparison.gaps["after"].values()) < 1e-9


def test_a_setpoint_is_the_reference_and_what_shapes_it():
    # q* = r + L (r − q) + T (ṙ − q̇) + A ṙ at L = 2, T = 0.5, A = 0.1, C = 0.
    seen = np.array([1.0, 2.0, 0.2, 0.4, 1.5, 2.5, 1.0, 2.0, 9.0, 9.0])
    made = ro.policies.SetpointShaping(ROBOT, lead=2.0, damping=0.5, advance=0.1)
    np.testing.assert_allclose(made(seen), [1.5 + 1.5, 2.5 + 2.0])
    made = ro.policies.SetpointShaping(
        ROBOT, lead=2.0, damping=0.5, advance=0.1, interface="velocity"
    )
    np.testing.assert_allclose(made(seen), [1.0 + 1.5, 2.0 + 2.0])
    # Of a goal ṙ = 0.
    np.testing.assert_allclose(made(seen[:6]), [1.0 - 0.1, 1.0 - 0.2])


def test_there_is_no_default_controller_for_voltages():
    options = {"interface": "voltage", "drive": SERVO}
    with pytest.raises(ro.RobooptError, match="`controller` must be given"):
        ro.tune("arm", options=options)


def test_the_command_collects_and_names_the_same_robot(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ro.save("shaping.npz", ro.policies.SetpointShaping(ROBOT, lead=0.1))
    drive = ",".join(
        f"{name}={':'.join(map(str, np.atleast_1d(value)))}"
        for name, value in SERVO.items()
    )
    line = "collect roboopt/ArmReach-v0 --episodes 1 --demonstrator shaping.npz --out a"
    line += f" --interface position --control-period 0.025 --drive {drive}"
    assert main(line.split()) == 0
    (told,) = (x for x in capsys.readouterr().out.splitlines() if "To clone it" in x)
    words = shlex.split(told.partition(": ")[2])
    options = keywords_of(words[words.index("--option") + 1 : -2])
    assert options == {**OPTIONS, "control_period": 0.025}
