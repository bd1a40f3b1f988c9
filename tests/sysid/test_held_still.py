"""A joint that is held still, beside others that move."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro
from roboopt.dynamics import ParametricTwin

ROBOT = """<robot name="crane"><link name="rail"/>
<link name="trolley"><inertial><mass value="2"/>
  <inertia ixx=".1" iyy=".1" izz=".1" ixy="0" ixz="0" iyz="0"/></inertial></link>
<link name="load"><inertial><origin xyz="0 0 -.3"/><mass value="MASS"/>
  <inertia ixx=".01" iyy=".01" izz=".01" ixy="0" ixz="0" iyz="0"/></inertial></link>
<joint name="slide" type="prismatic"><parent link="rail"/><child link="trolley"/>
  <axis xyz="1 0 0"/><limit lower="-2" upper="2" effort="50" velocity="5"/></joint>
<joint name="swing" type="revolute"><parent link="trolley"/><child link="load"/>
  <axis xyz="0 1 0"/><limit lower="-3" upper="3" effort="10" velocity="9"/></joint>
</robot>"""
STEP = 0.004


def test_it_does_not_count_as_infinitely_heavy(tmp_path):
    true, given = (tmp_path / name for name in ("true.urdf", "given.urdf"))
    true.write_text(ROBOT.replace("MASS", "1.2"))
    given.write_text(ROBOT.replace("MASS", "1"))
    twin = ParametricTwin(ro.Twin(ro.load_urdf(true), STEP), ["mass"])
    random, times = np.random.default_rng(0), STEP * np.arange(1501)
    runs = []
    for amplitude in (0.6, 0.8, 1.0):
        phase = 5 * times + random.uniform(0, 6)
        angle = np.stack([0.25 + 0 * times, amplitude * np.sin(phase)], 1)
        speed = np.stack([0 * times, 5 * amplitude * np.cos(phase)], 1)
        turned = np.stack([0 * times, -25 * amplitude * np.sin(phase)], 1)
        # The load swings by itself, and its motor needs what the motion takes.
        motion = map(jnp.asarray, (angle, speed, turned))
        taken = np.asarray(jax.vmap(twin.inverse_dynamics)(*motion))
        efforts = taken + 0.01 * random.normal(size=taken.shape)
        runs.append(ro.Trajectory(np.hstack([angle, speed]), efforts[:-1], STEP))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the joint that stands still
        made = ro.identify(given, runs, progress=False)
    assert made.identifiability is not None
    names = list(made.model.names)
    verdicts = dict(zip(names, made.identifiability.verdicts, strict=True))
    assert verdicts["mass[trolley]"] == "not excited"
    swing = np.array([[0.25, 0.7], [0.0, -1.0], [0.0, 4.0]])
    taken = np.asarray(made.model.inverse_dynamics(*swing))
    np.testing.assert_allclose(taken, twin.inverse_dynamics(*swing), rtol=0.02)
