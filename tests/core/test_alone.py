"""The core without its extras: what `pip install roboopt` gives on any CPython."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro

# A uniform rod of 2 kg and 1 m, hinged at its end about y: m g l / 2 and m l² / 3.
PENDULUM = """<robot name="pendulum">
  <link name="base"/>
  <link name="rod"><inertial><origin xyz="0 0 -0.5"/><mass value="2"/>
    <inertia ixx="0.1666666666666667" ixy="0" ixz="0" iyy="0.1666666666666667" iyz="0"
             izz="1e-4"/></inertial></link>
  <joint name="hinge" type="continuous"><parent link="base"/><child link="rod"/>
    <axis xyz="0 1 0"/></joint>
</robot>"""


class Holding:
    """Keep a pendulum at `angle`; a task of the user's own."""

    def __init__(self, angle):
        self.angle = angle

    def cost_rate(self, observation, action):
        return (observation[..., 0] - self.angle) ** 2

    def success(self, observations, time_step):
        return abs(observations[..., -1, 0] - self.angle) < 0.01


class Motor:
    """A motor of the user's own: all its work counts, and its heat."""

    def mechanical_power(self, effort, velocity, next_velocity):
        return jnp.abs(effort * (velocity + next_velocity) / 2)

    def joule_power(self, effort):
        return 0.01 * effort**2


def test_importing_it_imports_neither_simulator():
    program = (
        "import sys, roboopt\n"
        "for name in roboopt.__all__: getattr(roboopt, name)\n"
        "print([m for m in ('pybullet', 'gymnasium', 'optax', 'matplotlib', 'rich')"
        " if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


def test_from_a_urdf_to_a_tuned_and_saved_controller(tmp_path):
    path = tmp_path / "pendulum.urdf"
    path.write_text(PENDULUM)
    robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    q = jnp.array([0.3])
    np.testing.assert_allclose(robot.mass_matrix(q), [[2 / 3]], rtol=1e-6)
    np.testing.assert_allclose(
        robot.gravity_effort(q), [2 * 9.81 * 0.5 * np.sin(0.3)], rtol=1e-12
    )

    twin = ro.Twin(robot, 1 / 240, effort_limits=20.0)
    objective = ro.EnergyTaskCost(
        ro.Rollout(twin, 240), Holding(0.5), Motor(), joule_weight=1e-3
    )
    start = ro.policies.PDGravityCompensation.from_limits(robot, 20.0, 1 / 240)
    starts = jnp.array([[0.0, 0.0, 0.5], [1.0, 0.0, 0.5]])
    result = ro.minimize(objective, start, starts, steps=20)
    assert result.loss < 0.9 * result.history["loss"][0]
    trajectory = objective.rollout(result.model, starts)
    assert float(objective.success(trajectory)) == 1.0

    ro.save(tmp_path / "controller.npz", result.model)
    loaded = ro.load(tmp_path / "controller.npz")
    assert eqx.tree_equal(loaded, result.model)


def test_single_precision_stays_single(tmp_path):
    path = tmp_path / "pendulum.urdf"
    path.write_text(PENDULUM)
    twin = ro.Twin(ro.load_urdf(path), 1 / 240)
    single = jax.tree.map(
        lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, twin
    )
    state = jnp.array([0.1, 0.0], jnp.float32)
    after = single(state, jnp.array([1.0], jnp.float32))
    assert after.dtype == jnp.float32
    np.testing.assert_allclose(after, twin(state.astype(float), jnp.ones(1)), rtol=1e-5)


def test_jittable_modules_are_equal_to_themselves_alone():
    one, other = (ro.policies.LinearFeedback(np.ones((1, 2))) for _ in range(2))
    assert one == one and one != other and hash(one) == hash(one)
    assert hash(one) != hash(other) and eqx.tree_equal(one, other)
    np.testing.assert_allclose(jax.jit(one)(np.ones(2)), -2.0)


def test_a_chain_speaks_of_the_users_lines_alone():
    """Not of roboopt's, wherever that is installed."""

    def loss(weight, sample):
        hidden = jnp.tanh(weight * sample)
        return (hidden - 1) ** 2

    told = [(n.name, n.expression) for n in ro.chain(loss, 0.5, 2.0).nodes]
    assert told == [("hidden", "jnp.tanh(weight * sample)"), ("L", "(hidden - 1) ** 2")]
