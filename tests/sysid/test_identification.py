"""`identify`: parameters from clean and noisy recordings, and what it refuses."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs.arm

import roboopt as ro
from roboopt.optimize import least_squares
from roboopt.sysid import _fitter, _result
from roboopt.sysid._preparation import common_length
from roboopt.sysid._recordings import Recording, simulated_step, split
from roboopt.sysid._robot import KnownRobot

STEP = 1 / 240
FREE = ("mass", "damping")
CART_POLE = roboopt_envs.arm.__file__.replace("arm.py", "assets/cart_pole.urdf")
URDF = roboopt_envs.arm.__file__.replace("arm.py", "assets/two_link.urdf")


def believed():
    robot = ro.load_urdf(URDF, linear_damping=0.0, angular_damping=0.0).merge_fixed()
    return ro.Twin(robot, STEP)


def real():
    twin = believed()
    robot = twin.robot
    mass = jnp.array([1.2, 0.8])
    changed = eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.damping),
        robot,
        (
            robot.masses * mass,
            robot.inertias * mass[:, None, None],
            robot.damping * jnp.array([1.3, 0.7]),
        ),
    )
    return eqx.tree_at(lambda t: t.robot, twin, changed)


def recorded(twin, seconds, seed=0, step=STEP):
    time = step * np.arange(round(seconds / step))[:, None]
    phases = np.random.default_rng(seed).uniform(0, 6, (2, 2))
    efforts = 2.0 * np.sin(2.0 * time + phases[0]) + np.sin(7.0 * time + phases[1])
    efforts *= [1.0, 0.2]

    def advance(state, effort):
        after = twin(state, effort)
        return after, after

    start = jnp.array([-np.pi / 2, 0.2, 0.0, 0.0])
    states = jax.jit(lambda u: jax.lax.scan(advance, start, u)[1])(jnp.asarray(efforts))
    return ro.Trajectory(np.vstack([start[None], states]), efforts, step)


def judged(found):
    assert found.identifiability is not None
    return found.identifiability


def truth():
    return np.asarray(ro.dynamics.ParametricTwin(real(), FREE).values())


@pytest.fixture(scope="module")
def clean():
    return recorded(real(), 3.0)


def cart_pole(pole_mass=0.1, damping=0.0):
    """Return a cart-pole, whose cart alone is driven, made from the package's URDF."""
    robot = ro.load_urdf(CART_POLE, linear_damping=0.0, angular_damping=0.0)
    scale = jnp.array([1.0, pole_mass / 0.1])
    robot = eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.damping),
        robot,
        (
            robot.masses * scale,
            robot.inertias * scale[:, None, None],
            robot.damping + damping,
        ),
    )
    return ro.Twin(robot, STEP, actuated=(0,))


def noisy(run, seed):
    random = np.random.default_rng(seed)
    q = np.asarray(run.observations)[:, :2]
    q = q + 1e-4 * random.normal(size=q.shape)
    efforts = np.asarray(run.actions)
    efforts = efforts + 0.05 * efforts.std(0) * random.normal(size=efforts.shape)
    velocity = np.diff(q, axis=0, prepend=q[:1]) / STEP
    return ro.Trajectory(np.hstack([q, velocity]), efforts, STEP)


def test_what_simulation_recorded_is_found_to_rounding(clean, monkeypatch):
    fits = []

    def fitted(*arguments, **settings):
        fits.append(least_squares(*arguments, **settings))
        return fits[-1]

    monkeypatch.setattr(_fitter, "least_squares", fitted)
    begin = ro.Trajectory(clean.observations[:-9], clean.actions[:-9], STEP)
    found = ro.identify(believed(), [begin, clean], free=FREE, held_out=[clean])
    assert len(found.training) == len(found.held_out) == 1  # no recording is both
    with pytest.raises(ro.RobooptError, match="`held_out` must leave recordings"):
        ro.identify(believed(), [clean], free=FREE, held_out=[clean])
    seen, acted = np.float32(clean.observations), np.float32(clean.actions)
    rounded = dataclasses.replace(clean, observations=seen, actions=acted)
    with pytest.raises(ro.RobooptError, match="`held_out` must leave recordings"):
        ro.identify(believed(), [clean], free=FREE, held_out=[rounded])
    # The belief is worth nothing beside data that leave only rounding.
    np.testing.assert_allclose(judged(found).values, truth(), rtol=1e-10)
    assert found.error == "effort" and found.cutoff is None
    assert set(judged(found).verdicts) == {"identified"}
    # The second fit begins at the minimum of the first: its own count would say 0.
    said = re.match(
        r"no further improvement after (\d+) steps in 2 fits", found.result.message
    )
    assert said is not None and int(said[1]) > found.result.steps
    assert len(fits) == 2
    assert found.metrics()["optimization time [s]"] == sum(fit.seconds for fit in fits)
    made = found.forecast((0.1,))
    assert made.rmse["fitted"].max() < 1e-9 < made.rmse["URDF"][-1].min()


@pytest.mark.slow
def test_every_second_sample_is_enough(clean):
    half = ro.Trajectory(
        np.asarray(clean.observations)[::2], np.asarray(clean.actions)[::2], 2 * STEP
    )
    # Efforts held for both steps, as this twin is driven, are another motion.
    twin = real()

    def held(state, effort):
        return (after := twin(twin(state, effort), effort)), after

    start = jnp.asarray(half.observations[0])
    states = jax.jit(lambda u: jax.lax.scan(held, start, u)[1])(half.actions)
    run = ro.Trajectory(np.vstack([start[None], states]), half.actions, 2 * STEP)
    found = ro.identify(believed(), [run], free=FREE, held_out=0.0)
    assert found.error == "motion" and found.cutoff is None
    np.testing.assert_allclose(judged(found).values, truth(), rtol=1e-9)


def test_noise_is_smoothed_away_and_told_in_the_intervals(clean):
    long = recorded(real(), 10.0)
    found = ro.identify(
        believed(),
        [noisy(long, 0)],
        free=FREE,
        cutoff=6.0,
        error="effort",
        held_out=0.0,
    )
    v = judged(found)
    # Errors of a percent or so, and intervals that know it: four of four inside
    # twice the half width, which white noise misses once in ten thousand.
    np.testing.assert_allclose(v.values[:2], truth()[:2], rtol=0.03)
    assert np.all(np.abs(v.values - truth()) < v.upper - v.lower)
    assert np.all(v.upper - v.lower > 0)
    made = found.efforts
    assert made is not None and not made.held_out and made.unconstrained is not None
    assert np.all(made.fitted < made.before)
    assert made.share(made.unconstrained) <= made.share(made.fitted) < 0.1
    recorded_rms = np.sqrt(np.mean(np.asarray(long.actions) ** 2, 0))
    np.testing.assert_allclose(made.recorded, recorded_rms, rtol=0.05)


@pytest.mark.slow
def test_a_cut_off_is_found():
    run = noisy(recorded(real(), 6.0), 1)
    found = ro.identify(believed(), [run], free=FREE, held_out=0.0)
    assert found.cutoff is not None and 1.0 < found.cutoff < 60.0
    np.testing.assert_allclose(judged(found).values[:2], truth()[:2], rtol=0.05)


def test_ctrl_c_ends_all_fits_with_the_best_so_far(clean, monkeypatch):
    calls = []
    plain = _fitter.least_squares

    def interrupted(*arguments, **options):
        def stop(status):
            raise KeyboardInterrupt

        calls.append(1)
        return plain(*arguments, **options, callback=stop)

    monkeypatch.setattr(_fitter, "least_squares", interrupted)
    found = ro.identify(believed(), [clean], free=FREE)
    assert found.result.reason == "interrupted" and len(calls) == 1
    assert found.result.message.startswith("interrupted after")
    assert found.model.values().shape == (4,)


@pytest.mark.parametrize("where", ["identifiability", "explained"])
def test_ctrl_c_while_judging_keeps_the_fitted_model(
    clean, monkeypatch, tmp_path, where
):
    path = tmp_path / "fits.npz"

    def interrupted(*arguments):
        raise KeyboardInterrupt

    owner = _fitter.Estimate if where == "identifiability" else _fitter.Fitter
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, interrupted)
        kept = ro.identify(believed(), [clean], free=FREE, checkpoint=path)
    np.testing.assert_allclose(kept.model.values(), truth(), rtol=1e-10)
    assert kept.interrupted and kept.identifiability is None
    told = " ".join(str(kept).split())
    assert "was not judged" in told and "of the 4 parameters was not computed" in told
    assert "0 of 4" not in told and "verdict" in told
    with monkeypatch.context() as patch:
        patch.setattr(_result, "MAX_ROWS", 3)  # Of more there is no table.
        assert "0 of 4" not in str(kept) and "verdict" not in str(kept)
    kept.save(tmp_path / "kept")
    kept.report(tmp_path / "report.html")
    kept = ro.load(tmp_path / "kept")
    # The fits were in the file before: nothing is fitted again.
    found = ro.identify(believed(), [clean], free=FREE, checkpoint=path)
    assert not found.interrupted and found.result.message == kept.result.message
    np.testing.assert_array_equal(found.model.values(), kept.model.values())
    with pytest.raises(ro.RobooptError, match="'fit 1' in .* differs in steps .100"):
        ro.identify(believed(), [clean], free=FREE, checkpoint=path, steps=50)
    other = dataclasses.replace(clean, actions=1.001 * clean.actions)
    with pytest.raises(ro.RobooptError, match="'fit 1' in .* differs in data"):
        ro.identify(believed(), [other], free=FREE, checkpoint=path)


def test_ctrl_c_before_the_first_step_leaves_nothing(clean, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fitter, "least_squares", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ro.identify(believed(), [clean], free=FREE)


def test_windows_overlap_as_little_as_can_be():
    def run(steps):
        return ro.Trajectory(np.zeros((steps + 1, 4)), np.zeros((steps, 2)), STEP)

    # 500 and 300 are whole fives and threes of 100, with nothing twice.
    assert common_length([run(500), run(300)]) == 100
    assert common_length([run(300)]) == 300


@pytest.mark.parametrize(
    "options, match",
    [
        ({"error": "exact"}, "`error` must be one of"),
        ({"cutoff": -1.0}, "`cutoff` must be positive"),
        ({"horizon": 0.0}, "`horizon` must be positive"),
        ({"prior": 0.0}, "`prior` must be positive"),
        ({"prior": 1e-320}, "`prior` must be at least 1e-06"),
        ({"held_out": 1.0}, "`held_out` must be 0 or more and below 1"),
        ({"actuated": ("wrist",)}, "`actuated` must name joints of shoulder, elbow"),
        ({"time_step": 0.01}, "`time_step` and `actuated` must be left out"),
        ({"free": ("weight",)}, "`free` must name parameters"),
    ],
)
def test_bad_arguments_are_refused(clean, options, match):
    given: dict[str, Any] = {"free": FREE, **options}
    with pytest.raises(ValueError, match=match):
        ro.identify(believed(), [clean], **given)


@pytest.mark.parametrize(
    "observations, actions, match",
    [
        ((10, 3), (9, 2), "must hold positions and velocities of the 2"),
        ((10, 4), (9, 1), "must hold one action for each actuated"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(observations, actions, match):
    run = ro.Trajectory(np.zeros(observations), np.zeros(actions), STEP)
    with pytest.raises(ValueError, match=match):
        ro.identify(believed(), [run], free=FREE)
    with pytest.raises(ValueError, match="`recordings` must hold at least one"):
        ro.identify(believed(), [], free=FREE)


def swung():
    """Return a recording of a cart-pole whose cart is pushed by a sine."""
    real = cart_pole(pole_mass=0.13, damping=0.02)
    force = 6.0 * np.sin(5.0 * STEP * np.arange(480))[:, None]

    def step(state, effort):
        after = real(state, effort)
        return after, after

    start = jnp.array([0.0, np.pi, 0.0, 0.0])
    states = jax.jit(lambda u: jax.lax.scan(step, start, u)[1])(jnp.asarray(force))
    return ro.Trajectory(np.vstack([start[None], states]), force, STEP)


@pytest.mark.parametrize("error, minimized", [("auto", "motion"), ("both", "both")])
def test_a_robot_with_an_undriven_joint_is_found_to_rounding(error, minimized):
    # No mass at all would explain that no effort acts on the pole: its motion tells.
    run = swung()
    found = ro.identify(cart_pole(), [run], free=("mass", "damping"), error=error)
    assert found.error == minimized
    values = judged(found).values
    np.testing.assert_allclose(values[:2], [1.0, 0.13], rtol=1e-10)
    np.testing.assert_allclose(values[2:], 0.02, rtol=1e-8)


def test_both_errors_of_a_clean_arm_are_fitted(clean):
    found = ro.identify(believed(), [clean], free=FREE, error="both")
    assert found.error == "both"
    np.testing.assert_allclose(judged(found).values, truth(), rtol=1e-10)


@pytest.mark.slow
def test_both_errors_of_a_noisy_robot_with_an_undriven_joint_are_fitted():
    run = swung()
    random = np.random.default_rng(0)
    q = np.asarray(run.observations)[:, :2] + 1e-4 * random.normal(size=(481, 2))
    velocity = np.gradient(q, STEP, axis=0)
    run = ro.Trajectory(np.hstack([q, velocity]), np.asarray(run.actions), STEP)
    found = ro.identify(
        cart_pole(), [run], free=("mass", "damping[pole]"), held_out=0.0, error="both"
    )
    assert found.error == "both" and found.cutoff is not None
    np.testing.assert_allclose(found.model.values(), [1.0, 0.13, 0.02], rtol=0.05)


def test_a_urdf_and_files_are_identified_with_the_defaults_of_the_command(
    clean, tmp_path
):
    for number in range(3):
        clean.save(tmp_path / f"run_{number}.npz")
    found = ro.identify(URDF, tmp_path, free=("mass[forearm]", "damping"))
    assert [source.name for source in found.sources] == [
        f"run_{number}.npz" for number in range(3)
    ]
    assert len(found.training) == 2 and len(found.held_out) == 1
    assert found.model.time_step == STEP and found.urdf == URDF
    assert found.name == "two_link" and found.findings == ()


def test_a_recording_at_rest_is_refused(clean):
    still = dataclasses.replace(clean, observations=np.zeros_like(clean.observations))
    with pytest.raises(ro.RobooptError, match="`recordings` must hold motion"):
        ro.identify(URDF, still)


def test_errors_in_recordings_name_their_place(clean):
    observations = np.array(clean.observations)
    for value, match in (
        (1e12, "`recordings` must be free.*recording 1"),
        (np.nan, "`recordings` .*recording 1: .* 4 and .*, lack position"),
    ):
        observations[4::5, 1] = value
        broken = ro.Trajectory(observations, clean.actions, STEP)
        with pytest.raises(ro.RobooptError, match=match):
            ro.identify(believed(), [clean, broken], free=FREE)


def test_effort_limits_survive_a_transmission(tmp_path):
    # <transmission> repeats a joint's name, without its limits.
    text = Path(URDF).read_text()
    transmission = """<transmission name="t"><joint name="shoulder">
        <hardwareInterface>effort</hardwareInterface></joint>
        <joint name="elbow"/></transmission></robot>"""
    path = tmp_path / "robot.urdf"
    path.write_text(text.replace("</robot>", transmission))
    expected = KnownRobot.of(URDF, FREE).effort_limits
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(KnownRobot.of(path, FREE).effort_limits, expected)


def test_the_simulation_takes_whole_fractions_of_long_steps():
    def step_of(step):
        run = ro.Trajectory(np.zeros((3, 4)), np.zeros((2, 2)), step)
        return simulated_step([Recording("a", run)], joints=2)

    assert step_of(0.002) == 0.002
    assert step_of(1 / 240) == 1 / 240
    # 10 ms in steps of at most 4.17 ms are three of 3.33 ms.
    assert step_of(0.01) == pytest.approx(0.01 / 3)
    # Of samples every millisecond, four make a step.
    assert step_of(0.001) == pytest.approx(0.004)


@pytest.mark.parametrize("noise, expected", [(0.0, 0.005), (1e-4, 0.0025)])
def test_recordings_of_a_simulation_keep_its_step(noise, expected):
    # 200 Hz: a simulation's own step, but for a real robot one that is too long.
    twin = dataclasses.replace(real(), time_step=0.005)
    run = recorded(twin, 1.0, step=0.005)
    q = run.observations[:, :2]
    q = q + noise * np.random.default_rng(0).standard_normal(q.shape)
    # As a driver reports them, velocities are differences of the positions.
    velocity = np.vstack([run.observations[:1, 2:], np.diff(q, axis=0) / 0.005])
    run = ro.Trajectory(np.hstack([q, velocity]), run.actions, 0.005)
    assert simulated_step([Recording("a", run)], joints=2) == pytest.approx(expected)
    if not noise:
        found = ro.identify(believed().robot, [run], free=FREE)
        np.testing.assert_allclose(
            [p.estimate for p in found.parameters], truth(), rtol=1e-4
        )


def test_every_third_recording_is_held_out_or_the_end_of_each():
    runs = [
        ro.Trajectory(np.full((9, 2), float(k)), np.zeros((8, 1)), 0.1, times=times)
        for k, times in enumerate([None, np.arange(9.0) ** 1.5, None])
    ]
    recorded = [Recording("a", run) for run in runs]
    parts = split(recorded, None)
    assert [run.observations[0, 0] for run in parts.training] == [0.0, 1.0]
    assert [run.observations[0, 0] for run in parts.held_out] == [2.0]
    parts = split(recorded, 0.25)
    assert [run.steps for run in parts.training] == [6] * 3
    assert [run.steps for run in parts.held_out] == [2] * 3
    # The second run's last two steps are from 6^1.5 to 8^1.5 s.
    times = np.asarray(parts.held_out[1].times)
    np.testing.assert_allclose(times[[0, -1]], [0, 8**1.5 - 6**1.5])
    assert parts.held_out[1].time_step == pytest.approx((8**1.5 - 6**1.5) / 2)
    assert split(recorded[:2], None).held_out[0].steps == 2
    assert split(recorded, 0.0).held_out == []
    with pytest.raises(ro.RobooptError, match="`held_out` of 0.01 leaves nothing of a"):
        split(recorded, 0.01)


def test_a_robot_is_excited_in_an_environment():
    with pytest.raises(ro.RobooptError, match="`env` must be a PyBullet .*'arm.urdf'"):
        ro.sysid.excite("arm.urdf")


@pytest.fixture
def excited(tmp_path):
    """Return the excitation of a randomized robot with friction."""
    from roboopt_envs.robot import RobotTask

    inertial = (
        '<inertial><origin xyz="0.05 0.02 -0.2"/><mass value="1.2"/><inertia ixx="0.03"'
        ' iyy="0.02" izz="0.015" ixy="0.001" ixz="0.002" iyz="0"/></inertial>'
    )
    text = "".join(
        f'<link name="link{k}">{inertial}</link><joint name="joint{k}" type="revolute">'
        f'<parent link="{"base" if k == 1 else "link1"}"/><child link="link{k}"/>'
        f'<origin xyz="0 0 {-0.3 * (k - 1)}"/><axis xyz="{k - 1} {2 - k} 0"/>'
        f'<dynamics damping="{0.2 * k}" friction="{0.1 * k}"/>'
        '<limit lower="-2" upper="2" effort="30" velocity="9"/></joint>'
        for k in (1, 2)
    )
    urdf = tmp_path / "two.urdf"
    urdf.write_text(f'<robot name="two"><link name="base"/>{text}</robot>')
    env = RobotTask(urdf, duration=2.0, randomize=0.3)
    excited = ro.sysid.excite(env, seed=3, steps=10)
    env.close()
    return excited


def test_the_truth_of_a_randomized_robot_is_another_than_its_file(excited):
    known, truth = excited.known.robot, excited.truth
    for name in ("masses", "inertias", "damping", "friction"):
        before, after = (np.asarray(getattr(r, name)) for r in (known, truth))
        moved = np.abs(after - before)[np.abs(before) > 1e-6]
        assert moved.size and np.all(moved > 1e-6), name


@pytest.mark.slow
def test_the_truth_of_a_randomized_robot_is_the_robot_that_moved(excited):
    truth = excited.truth
    found = ro.identify(excited.known, [excited.recording], truth=truth)
    for row in found.parameters:
        if row.identified:
            assert row.true == pytest.approx(row.estimate, rel=1e-5, abs=1e-7), row.name
    for kind in ("damping", "friction"):
        assert all(row.identified for row in found.parameters if kind in row.name)
    # Nothing but rounding is left, of which the report shows no gradient.
    losses = {when: each.loss for when, each in found.gradients().items()}
    titles = [section.title for section in found.sections(video=False)]
    assert losses and "Gradient" not in titles, losses


def test_an_excited_robot_is_known_as_it_was_before_it_was_randomized():
    from roboopt_envs.cart_pole import CartPoleSwingUp

    env = CartPoleSwingUp(duration=0.1, randomize=0.3)
    excited = ro.sysid.excite(env, free=("mass",), seed=1)
    env.close()
    np.testing.assert_allclose(excited.known.robot.masses, [1.0, 0.1])
    assert np.all(np.abs(np.asarray(excited.truth.masses) / [1.0, 0.1] - 1) > 1e-3)
    assert excited.recording.steps == round(0.1 / excited.recording.time_step)
    assert excited.known.urdf is not None
