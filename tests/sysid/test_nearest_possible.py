"""The nearest possible robot is the minimum that `least_squares` cannot leave."""

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, Twin, linear_parameters, load_urdf
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, CondensedEffortError
from roboopt.sysid._fitter import bounds_of
from roboopt.sysid._nearest_possible import BASIS, free_numbers, nearest_possible
from roboopt.sysid._sizes import sizes

ARM = Path(__file__).parents[1] / "cases" / "recordings" / "arm3.urdf"
FREE = ("mass", "center_of_mass", "extent", "shear", "damping", "friction")
STEP = 1e-2
COUNT = 600
PRIOR = 0.5


# The arm does not show the inertia of its first link but about one axis.
pytestmark = pytest.mark.filterwarnings("ignore:the residuals do not depend")


def arm(free=FREE):
    robot = load_urdf(ARM, linear_damping=0.0, angular_damping=0.0)
    joints = tuple(range(len(robot.joint_names)))
    return ParametricTwin(Twin(robot, STEP, actuated=joints), free)


def flat_arm():
    """Return an arm of thin rods, whose inertias no coordinates describe."""
    model = arm()
    rods = np.broadcast_to(np.diag([0.0, 0.05, 0.05]), (3, 3, 3))
    twin = model.inner
    chosen = np.array(model.massive)
    inertias = twin.robot.inertias.at[chosen].set(rods)
    twin = eqx.tree_at(lambda t: t.robot.inertias, twin, inertias)
    return ParametricTwin(twin, FREE)


def recorded(model, noise, seed=0):
    """Return a wild motion, with the efforts that it takes and noise on these."""
    generator = np.random.default_rng(seed)
    joints, times = model.joints, np.arange(COUNT + 1) * STEP
    waves = generator.normal(size=(4, 2, joints))
    rates = np.array([0.4, 0.9, 1.7, 2.6])
    phase = 2 * np.pi * times[:, None] * rates
    q = np.sin(phase) @ waves[:, 0] + np.cos(phase) @ waves[:, 1]
    velocity = np.concatenate([np.zeros((1, joints)), np.diff(q, axis=0) / STEP])
    run = Trajectory(np.hstack([q, velocity]), np.zeros((COUNT, joints)), STEP)
    needed = np.asarray(InverseDynamicsError().errors(model, run))
    size = np.sqrt((needed**2).mean(0))
    actions = needed + noise * size * generator.normal(size=needed.shape)
    return Trajectory(run.observations, actions, STEP)


def moved(model, size, seed):
    shift = size * np.random.default_rng(seed).normal(size=len(model.names))
    shift = np.where(model.lower() == 0.0, np.abs(shift), shift)
    return eqx.tree_at(lambda m: m.coordinates, model, model.coordinates + shift)


def condensed(model, run):
    error = InverseDynamicsError(scale=np.ones(model.joints))
    return Condensed.of(error, model, run)


def losses(start, objective, nearest, batch):
    """Return the loss at the nearest robot, and of fits from there and from `start`."""
    fits = [
        ro.least_squares(objective, begin, batch, bounds=bounds_of(start), steps=40)
        for begin in (nearest, start)
    ]
    return float(objective(nearest, batch)), *(fit.loss for fit in fits)


def least_noise(start, data):
    return data.rms(data.unconstrained(_numbers(start), free_numbers(start)[0]))


def test_no_fit_of_the_efforts_is_better():
    start = arm()
    data = condensed(start, recorded(moved(start, 0.3, 1), 0.3))
    nearest = nearest_possible(start, data, None)
    assert nearest is not None
    objective = CondensedEffortError(least_noise(start, data))
    there, *fitted = losses(start, objective, nearest, data.batch())
    assert there <= min(fitted) * (1 + 1e-3)


@pytest.mark.parametrize("made", [arm, flat_arm])
def test_without_noise_it_is_the_robot_itself(made):
    start = made()
    real = moved(start, 0.2, 2)
    data = condensed(start, recorded(real, 0.0))
    found = nearest_possible(start, data, jnp.asarray(PRIOR * sizes(start)))
    assert found is not None
    whole = data.rms(np.zeros(len(_numbers(start))))
    assert np.all(data.rms(_numbers(found)) < 1e-4 * whole)


def test_every_body_is_possible_where_least_squares_give_an_impossible_one():
    start = arm()
    data = condensed(start, recorded(moved(start, 0.5, 3), 0.5))
    best = data.unconstrained(_numbers(start), free_numbers(start)[0])
    found = nearest_possible(start, data, jnp.asarray(PRIOR * sizes(start)))
    assert found is not None

    def lowest(numbers):
        bodies = numbers[: 10 * len(start.massive)].reshape(-1, 10)
        return np.linalg.eigvalsh(np.einsum("bn,nij->bij", bodies, BASIS)).min()

    assert lowest(best) < 0 < lowest(_numbers(found))
    assert np.all(np.asarray(found.robot.friction) >= 0)
    # The yardstick is lower on the data of the fit, by each joint's noise.
    ratio = data.rms(_numbers(found)) / data.rms(best)
    assert np.sqrt(np.mean(ratio**2)) >= 1


@pytest.mark.parametrize(
    "free, exact",
    [
        (("mass", "damping"), False),
        (("*[forearm_link]", "friction"), True),
        (("damping", "effort_offset"), True),
    ],
)
def test_a_body_is_free_as_a_whole_or_left_to_least_squares(free, exact):
    start = arm(free)
    data = condensed(start, recorded(moved(start, 0.2, 4), 0.1))
    found = nearest_possible(start, data, jnp.asarray(PRIOR * sizes(start)))
    assert (found is not None) is exact
    if found is not None:
        kept = [name for name in arm(("*",)).names if name not in start.names]
        before, after = (
            dict(zip(m.names, np.asarray(m.values()), strict=True))
            for m in (start, found)
        )
        assert kept and before.keys() == after.keys()
        bodies = np.array(start.inner.robot.body_names) != "forearm_link"
        np.testing.assert_array_equal(
            np.asarray(found.robot.masses)[bodies],
            np.asarray(start.robot.masses)[bodies],
        )


def _numbers(model):
    return np.asarray(linear_parameters(model))
