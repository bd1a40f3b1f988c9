"""Robots of which some joints are driven by nothing, recorded with noise."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import roboopt as ro
from roboopt.data import Trajectory
from roboopt.sysid._preparation import as_simulated

STEP = 0.01  # s, of recordings
NOISE = 5e-4  # rad
DAMPING, FRICTION = np.array([0.05, 0.008]), np.array([0.08, 0.01])
UPPER, LOWER = (1.2, 0.21, 0.02), (0.6, 0.18, 0.009)  # kg, m, kg·m²
LENGTH = 0.4  # m

URDF = """<robot name="pendubot"><link name="base"/>{links}
<joint name="shoulder" type="continuous"><parent link="base"/><child link="upper"/>
  <axis xyz="0 -1 0"/></joint>
<joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/>
  <origin xyz="0 0 -0.4"/><axis xyz="0 -1 0"/></joint></robot>"""
LINK = """<link name="{name}"><inertial><origin xyz="0 0 {z}"/><mass value="{mass}"/>
  <inertia ixx="{i}" iyy="{i}" izz="{i}" ixy="0" ixz="0" iyz="0"/></inertial></link>"""


def pendubot_urdf(path, change=1.0):
    """Write the robot with masses that are wrong by a factor."""
    bodies = zip(("upper", "lower"), (UPPER, LOWER), strict=True)
    links = [
        LINK.format(name=name, z=-center, mass=change * mass, i=change * inertia)
        for name, (mass, center, inertia) in bodies
    ]
    path.write_text(URDF.format(links="".join(links)))
    return path


def recording(seed, scale=0.01, seconds=12.0):
    """Return a motion in continuous time, with the torque of each sample's instant."""
    random = np.random.default_rng(seed)
    (m1, c1, i1), (m2, c2, i2) = UPPER, LOWER
    rates = 2 * np.pi * np.array([0.3, 0.7, 1.2])
    sizes, phases = 2 * random.normal(size=3), random.uniform(0, 6, 3)

    def torque(time, velocity):
        waves = np.sin(np.outer(time, rates) + phases) @ sizes
        return waves - np.atleast_1d(velocity)

    def slope(time, state):
        q, v = state[:2], state[2:]
        coupling = m2 * LENGTH * c2 * np.cos(q[1])
        inner = i2 + m2 * c2**2
        outer = i1 + m1 * c1**2 + m2 * LENGTH**2 + inner + 2 * coupling
        mass = [[outer, inner + coupling], [inner + coupling, inner]]
        turning = m2 * LENGTH * c2 * np.sin(q[1])
        bias = turning * np.array([-(2 * v[0] + v[1]) * v[1], v[0] ** 2])
        weight = 9.81 * m2 * c2 * np.sin(q.sum())
        bias += [9.81 * (m1 * c1 + m2 * LENGTH) * np.sin(q[0]) + weight, weight]
        driven = np.array([torque(time, v[0])[0], 0.0])
        resistance = DAMPING * v + FRICTION * np.tanh(v / scale)
        return np.append(v, np.linalg.solve(mass, driven - bias - resistance))

    times = np.arange(0, seconds, STEP)
    settings = {"rtol": 1e-9, "atol": 1e-10, "max_step": 0.01, "t_eval": times}
    start = [*random.uniform(-1, 1, 2), 0, 0]
    states = solve_ivp(slope, (0, seconds), start, **settings).y.T
    efforts = torque(times, states[:, 2])
    efforts += 0.02 * efforts.std() * random.normal(size=efforts.shape)
    q = states[:, :2] + NOISE * random.normal(size=(len(times), 2))
    observations = np.hstack([q, np.gradient(q, STEP, axis=0)])
    return Trajectory(observations, efforts[:-1, None], STEP)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the residuals do not depend")
@pytest.mark.parametrize("scale", [0.01, 0.2])
def test_the_friction_of_a_passive_joint_is_inside_its_interval(tmp_path, scale):
    runs = [recording(seed, scale) for seed in range(4)]
    urdf = pendubot_urdf(tmp_path / "pendubot.urdf", 1.15)
    result = ro.identify(urdf, runs, actuated=["shoulder"])
    report = result.identifiability
    assert report is not None
    for kind, truth in (("damping", DAMPING), ("friction", FRICTION)):
        for joint, true in zip(("shoulder", "elbow"), truth, strict=True):
            number = report.names.index(f"{kind}[{joint}]")
            assert report.verdicts[number] == "identified"
            half = (report.upper[number] - report.lower[number]) / 2
            assert half < 0.1 * true
            assert abs(report.values[number] - true) < 1.5 * half


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("share", [1.0, 0.25, 0.0])
def test_a_simulation_from_recorded_states_follows_the_motion(every, share):
    rate, kept = 2 * np.pi, STEP / every
    times = kept * np.arange(801)
    q, effort = np.sin(rate * times), -(rate**2) * np.sin(rate * times)
    velocities = np.diff(q, prepend=q[0] - rate * kept) / kept
    run = Trajectory(np.stack([q, velocities], 1), effort[:-1, None], kept)
    [made] = as_simulated([run], every, share * STEP, instants=True)
    assert made.time_step == pytest.approx(STEP)
    step = STEP * max(share, 1e-3)  # 0 stands for steps of no length.
    errors = []
    for first in range(10, 60, 10):
        position, velocity = np.asarray(made.observations)[first]
        for number in range(first, first + 50):
            for _ in range(round(STEP / step)):
                velocity += step * made.actions[number, 0]
                position += step * velocity
        errors.append(position - np.asarray(made.observations)[first + 50, 0])
    # Of first order in the step they would be 0.03.
    assert np.max(np.abs(errors)) < 2e-3
