"""What is fitted by default: of noisy recordings also rotors and offsets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.dynamics import linear_parameters
from roboopt.sysid._base_parameters import _names
from roboopt.sysid._preparation import evenly
from roboopt.sysid._robot import FREE, default_free

pytestmark = pytest.mark.filterwarnings("ignore:the residuals do not depend")
STEP, HARMONICS, PERIOD_S = 0.005, 5, 10.0
LINK = """<link name="{0}"><inertial><origin xyz="0.01 0 -0.15"/><mass value="{1}"/>
<inertia ixx="0.012" iyy="0.011" izz="0.004" ixy="0" ixz="2e-4" iyz="0"/></inertial>
</link><joint name="{2}" type="{3}"><parent link="{4}"/><child link="{0}"/>
<origin xyz="0 0 -0.3"/><axis xyz="{5}"/>
<limit lower="-3" upper="3" effort="300" velocity="5"/></joint>"""
ROTORS = jnp.array([6.0, 0.3, 0.08])  # kg and kg·m²


@pytest.fixture
def crane(tmp_path):
    """Return a crane with two hanging links as its file has it, without rotors."""
    links = [
        LINK.format("cart", 4.0, "slide", "prismatic", "base", "1 0 0"),
        LINK.format("upper", 1.5, "shoulder", "revolute", "cart", "0 1 0"),
        LINK.format("lower", 1.0, "elbow", "revolute", "upper", "0 1 0"),
    ]
    return loaded(links, tmp_path)


def loaded(links, folder):
    """Return the robot of these links."""
    path = folder / "robot.urdf"
    path.write_text(f'<robot name="robot"><link name="base"/>{"".join(links)}</robot>')
    return ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)


def real(robot, joints=slice(None)):
    """Return a robot with rotors, frictions, and masses off by up to a fifth."""
    return dataclasses.replace(
        robot,
        masses=robot.masses * jnp.array([1.2, 0.8, 1.1])[joints],
        armature=ROTORS[joints],
        damping=jnp.array([3.0, 0.4, 0.2])[joints],
        friction=jnp.array([2.0, 0.5, 0.3])[joints],
    )


def recording(robot, seed, every=1, *, samples=4001, lacking=0.0, offset=0.0):
    """Return a noisy recording of a Fourier series, every n-th sample of it.

    The friction of the model is `lacking` a part in one direction [N·m or N].
    """
    random, joints = np.random.default_rng(seed), len(robot.joint_names)
    times = STEP * np.arange(samples)[:, None]
    k = 2 * np.pi / PERIOD_S * np.arange(1, HARMONICS + 1)
    a, b = 0.6 * random.normal(size=(2, HARMONICS, joints)) / k[:, None]
    sine, cosine = np.sin(times * k), np.cos(times * k)
    q, velocity = sine @ a + cosine @ b, (cosine * k) @ a - (sine * k) @ b
    motion = q, velocity, -(sine * k**2) @ a - (cosine * k**2) @ b
    efforts = np.asarray(jax.jit(jax.vmap(robot.inverse_dynamics))(*motion))
    efforts = efforts + offset + lacking * np.exp(-np.abs(velocity) / 0.2) * velocity
    size = np.sqrt((efforts**2).mean(0))
    efforts = (efforts + 0.03 * size * random.normal(size=efforts.shape))[::every]
    q = (q + 1e-4 * random.normal(size=q.shape))[::every]
    step = every * STEP
    seen = np.hstack([q, np.gradient(q, step, axis=0)])
    return ro.Trajectory(seen, efforts[:-1], step)


@pytest.mark.slow
def test_rotors_are_fitted_and_never_told_from_the_mass_on_a_slide(crane):
    # The second recording is of another rate.
    robot = real(crane)
    runs = [recording(robot, 0), recording(robot, 1, every=4)]
    found = ro.identify(crane, runs, held_out=0.0, truth=robot)
    rows = {row.name: row for row in found.parameters}
    assert rows["mass[cart]"].verdict == "only in combination"
    assert "armature[slide]" in rows["mass[cart]"].explanation
    moved = float(found.model.robot.masses.sum() + found.model.robot.armature[0])
    assert moved == pytest.approx(4.8 + 1.2 + 1.1 + 6.0, rel=0.01)
    for name in ("armature[shoulder]", "friction[slide]", "damping[elbow]"):
        assert rows[name].covered in (True, None)
    # Nor is the prior, whose mean is 0, in the way: least squares leave no less.
    efforts = found.efforts
    assert efforts is not None and efforts.unconstrained is not None
    assert np.all(efforts.fitted < 1.002 * efforts.unconstrained)
    assert efforts.geared == ()
    assert "armature" not in default_free(found.model.twin, noisy=False)
    with_rotors = default_free(found.model.twin, noisy=True)
    assert {*FREE, "effort_offset", "armature[elbow]"} < set(with_rotors)
    assert efforts.excess is None
    model = ro.dynamics.ParametricTwin(
        ro.Twin(robot, STEP), default_free(ro.Twin(robot, STEP), noisy=True)
    )
    numbers = dict(zip(_names(model)[0], linear_parameters(model), strict=True))
    off = []
    for one in efforts.base:
        terms = one.combination.coefficients.items()
        true = sum(c * numbers[name] for name, c in terms)
        off.append((one.least_squares - true) / one.deviation)
    assert np.max(np.abs(off)) < 3


@pytest.mark.slow
def test_a_rotor_at_zero_is_not_known_to_be_there(crane):
    # Without rotors, half of the estimates end at 0, and the links have their inertia.
    robot = dataclasses.replace(real(crane), armature=jnp.zeros(3))
    found = ro.identify(crane, recording(robot, 2), held_out=0.0, truth=robot)
    rows = {row.name: row for row in found.parameters}
    assert rows["mass[cart]"].verdict == "only in combination"
    for name, row in rows.items():
        if name.startswith("armature["):
            assert row.verdict != "at its bound"
            assert row.covered is not False and not row.lower < 0


def test_efforts_between_slow_samples_are_those_of_the_motion(crane):
    robot = real(crane)
    whole, slow = (recording(robot, 0, every=n) for n in (1, 4))
    [instants] = evenly([slow], STEP, held=False)
    [held] = evenly([slow], STEP)
    assert instants.time_step == held.time_step == STEP

    def error(run):
        end = min(run.steps, whole.steps) - 8
        return np.std(np.asarray(run.actions)[:end] - whole.actions[:end], 0)

    assert np.all(error(instants) < 0.06 * np.std(whole.actions, 0))
    assert np.all(error(held) > 1.2 * error(instants))


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_offsets_stay_where_forecasts_need_them(tmp_path, offset):
    links = [LINK.format("link", 1.5, "shoulder", "revolute", "base", "0 1 0")]
    robot = real(loaded(links, tmp_path), slice(1, 2))
    how = {"samples": 2001, "lacking": 12.0, "offset": offset}
    runs = [recording(robot, seed, **how) for seed in range(2)]
    found = ro.identify(loaded(links, tmp_path), runs, held_out=0.0, error="both")
    assert found.efforts is not None and found.efforts.excess is not None
    kept = any(name.startswith("effort_offset") for name in found.model.names)
    assert kept == (offset > 0)
    said = "Offsets of the efforts are left out" in " ".join(str(found).split())
    assert said != kept
