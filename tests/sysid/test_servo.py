"""A servo on a pendulum in PyBullet, identified from the positions it was commanded."""

import numpy as np
import pytest
from roboopt_envs.robot import RobotTask

import roboopt as ro
from roboopt.cli import main
from roboopt.dynamics import with_friction

PENDULUM = """<robot name="pendulum"><link name="base"/><link name="arm"><inertial>
<origin xyz="0 0 -0.15"/><mass value="0.5"/><inertia ixx="0.002" iyy="0.002"
izz="0.0001" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="hinge" type="revolute"><parent link="base"/><child link="arm"/>
<axis xyz="0 1 0"/><limit lower="-2.6" upper="2.6" effort="50" velocity="10"/></joint>
</robot>"""
TRUE = {
    "resistance": 2.0,
    "torque_constant": 0.012,
    "gear_ratio": 200.0,
    "rotor_inertia": 3e-7,
    "supply_voltage": 12.0,
    "position_gain": 25.0,
}
KNOWN = {**TRUE, "torque_constant": 0.01, "rotor_inertia": 2e-7, "position_gain": 20.0}
FRICTION = {"coulomb": 0.08, "viscous": 0.05, "load": 0.2}
FREE = ("torque_constant", "position_gain", "rotor_inertia")
FREE += ("damping", "friction", "load_friction")
TRUTH = {**TRUE, "damping": 0.05, "friction": 0.08, "load_friction": 0.2}
STEP, STEPS = 1 / 200, 2000


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    path = tmp_path_factory.mktemp("servo") / "pendulum.urdf"
    path.write_text(PENDULUM)
    return path


def recorded(pendulum, time_step):
    """Return what the servo does for 10 s: swings, and steps that saturate it."""
    robot = ro.load_urdf(pendulum, linear_damping=0.0, angular_damping=0.0)
    env = RobotTask(
        pendulum,
        model=with_friction(robot, **FRICTION),
        time_step=time_step,
        control_period=STEP,
        duration=STEPS * STEP,
        interface="position",
        drive=TRUE,
    )
    times = np.arange(STEPS) * STEP
    targets = 1.2 * np.sin(2.2 * times) + 0.5 * np.sign(np.sin(0.9 * times))
    seen = [env.reset(options={"start": np.zeros(2)})[0]]
    for target in targets:
        seen.append(env.step([target])[0])
    env.close()
    return ro.Trajectory(np.array(seen), targets[:, None], STEP)


def test_a_clean_log_gives_every_number(pendulum):
    settings = {"interface": "position", "drive": KNOWN, "time_step": STEP}
    log = recorded(pendulum, STEP)
    found = ro.identify(pendulum, log, free=FREE, prior=None, **settings)
    for name, value in zip(found.model.names, found.model.values(), strict=True):
        assert value == pytest.approx(TRUTH[name.partition("[")[0]], rel=1e-4), name


@pytest.mark.slow
def test_a_noisy_log_gives_them_within_their_intervals_by_the_command(
    pendulum, tmp_path, monkeypatch
):
    log = recorded(pendulum, STEP / 5)
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(size=(STEPS, 2)) * [3e-4, 0.02]
    times = np.arange(STEPS) * STEP
    table = np.column_stack([times, log.observations[:-1] + noise, log.actions])
    header = "time,hinge position,hinge velocity,goal"
    np.savetxt("log.csv", table, delimiter=",", header=header, comments="")
    drive = ",".join(f"{name}={value}" for name, value in KNOWN.items())
    line = f"identify log.csv --urdf {pendulum} --interface position --drive {drive} "
    line += f"--free {','.join(FREE)} --time time --efforts goal --time-step 0.001"
    words = line.split()
    words += ["--positions", "hinge position", "--velocities", "hinge velocity"]
    assert main(words) == 0
    folder = tmp_path / "runs" / "pendulum-identified"
    report = ro.load(folder).identifiability
    assert report is not None
    assert set(report.verdicts) == {"identified"}
    for name, low, high in zip(report.names, report.lower, report.upper, strict=True):
        # 95 % of intervals hold the truth; half as wide again, 99.7 % do.
        slack, truth = 0.25 * (high - low), TRUTH[name.partition("[")[0]]
        assert low - slack < truth < high + slack, (name, low, high)
        assert high - low < 0.15 * truth


def test_a_command_is_no_effort(pendulum):
    log = ro.Trajectory(np.zeros((9, 2)), np.zeros((8, 1)), STEP)
    with pytest.raises(ro.RobooptError, match="`error` must be auto or motion"):
        ro.identify(pendulum, log, error="effort", interface="position", drive=KNOWN)
    told = pytest.warns(UserWarning, match="the gains of the `drive` do nothing")
    with told, pytest.raises(ro.RobooptError, match="must hold motion"):
        ro.identify(pendulum, log, drive=KNOWN)
