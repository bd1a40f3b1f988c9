import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from hand_twins import pendulum_twin, record

from roboopt import RobooptError, Trajectory
from roboopt.dynamics import ParametricTwin
from roboopt.losses import Huber
from roboopt.objectives import InverseDynamicsError


class Cart(eqx.Module):
    """m a + d v, of two joints that do not feel each other."""

    masses: jax.Array
    joints: int = eqx.field(static=True, default=2)

    def inverse_dynamics(self, q, velocity, acceleration):
        return self.masses * acceleration + 3.0 * velocity


def cart(*masses):
    return Cart(jnp.array(masses))


def recording(velocities, actions, time_step=0.5, times=None):
    velocities = np.array(velocities, float)
    observations = np.concatenate([np.zeros_like(velocities), velocities], -1)
    return Trajectory(observations, np.array(actions, float), time_step, times=times)


errors_of = eqx.filter_jit(InverseDynamicsError().errors)

# Accelerations of (2, 4) and (−2, 0) at velocities (0, 1) and (1, 3).
BATCH = recording([[0, 1], [1, 3], [0, 3]], [[1, 1], [-2, 10]])


def test_value_and_gradient_by_hand():
    # With 2 and 1 kg: 4 + 0 and 4 + 3, then −4 + 3 and 0 + 9, less 1, 1, −2 and 10,
    # over (1, 2): 3, 3, 1, −½, so L = (9 + 9 + 1 + ¼)/(2·4); ∂L/∂m₁ = (3·2 − 1·2)/4
    # and ∂L/∂m₂ = (3·4/2)/4.
    objective = InverseDynamicsError(scale=np.array([1.0, 2.0]))
    value, grad = eqx.filter_value_and_grad(objective)(cart(2.0, 1.0), BATCH)
    assert value == pytest.approx(19.25 / 8)
    np.testing.assert_allclose(grad.masses, [1.0, 1.5])
    errors = objective.errors(cart(2.0, 1.0), BATCH)
    np.testing.assert_array_equal(errors, [[3.0, 6.0], [1.0, -1.0]])
    assert list(objective.terms(cart(2.0, 1.0), BATCH)) == ["inverse_dynamics_error"]


def test_the_scale_is_that_of_the_efforts():
    # √((1 + 4)/2) and √((1 + 100)/2).
    objective = InverseDynamicsError.for_data(cart(2.0, 1.0), BATCH)
    residuals = objective.residuals(cart(2.0, 1.0), BATCH)
    scale = np.sqrt([2.5, 50.5])
    np.testing.assert_allclose(residuals, np.array([[3, 6], [1, -1]]) / scale)
    # A joint that nothing drives is taken as it is.
    still = recording([[0, 1], [1, 3]], [[1, 0]])
    objective = InverseDynamicsError.for_data(cart(2.0, 1.0), still)
    np.testing.assert_allclose(objective.residuals(cart(2.0, 1.0), still), [[3, 7]])


def test_the_scale_is_fixed_whatever_the_minibatch():
    # The mean over two minibatches of equal size is the value of the whole.
    objective = InverseDynamicsError.for_data(cart(2.0, 1.0), BATCH, every=1)
    parts = [
        Trajectory(BATCH.observations[k : k + 2], BATCH.actions[k : k + 1], 0.5)
        for k in range(2)
    ]
    values = [float(objective(cart(2.0, 1.0), part)) for part in parts]
    whole = float(objective(cart(2.0, 1.0), BATCH))
    assert np.mean(values) == pytest.approx(whole, rel=1e-14)
    with pytest.raises(RobooptError, match="`scale` must hold.*for_data"):
        InverseDynamicsError()(cart(2.0, 1.0), BATCH)


def test_what_is_not_to_count_does_not():
    objective = InverseDynamicsError(scale=np.array([np.inf, 2.0]))
    value, grad = eqx.filter_value_and_grad(objective)(cart(2.0, 1.0), BATCH)
    assert value == pytest.approx(9.25 / 8)
    np.testing.assert_allclose(grad.masses, [0.0, 1.5])


class Rubbing(Cart):
    """Carts with a friction v³."""

    def inverse_dynamics(self, q, velocity, acceleration):
        return super().inverse_dynamics(q, velocity, acceleration) + velocity**3

    def dry_friction(self, velocity):
        return velocity**3


def test_the_filter_of_the_recorded_efforts_is_that_of_the_models():
    # At 1, 2, 3, 0 m/s; the first and the last instant do not count, nor with every
    # second one the third.
    model, weights = Rubbing(jnp.array([2.0, 1.0])), np.array([0.25, 0.5, 0.25])
    batch = recording([[1, 0], [2, 0], [3, 0], [0, 0], [5, 0]], np.zeros((4, 2)))
    needed = np.asarray(InverseDynamicsError().errors(model, batch))[:, 0]
    filtered = np.convolve(needed, weights, "valid")
    found = InverseDynamicsError(filter=weights).errors(model, batch)
    np.testing.assert_allclose(found[:, 0], filtered)
    # With every second instant this filter takes one: only friction is filtered.
    some = InverseDynamicsError(filter=weights, every=2).errors(model, batch)
    friction = 0.25 * 1 + 0.5 * 8 + 0.25 * 27
    np.testing.assert_allclose(some[:, 0], [needed[1] - 8 + friction])
    short = recording([[1, 0], [2, 0], [3, 0]], np.zeros((2, 2)))
    with pytest.raises(RobooptError, match="`filter` must be.* 2 steps.* 3 weights"):
        InverseDynamicsError(filter=weights).errors(model, short)


def test_staggered_velocities_by_hand():
    # Of 1, 3, 2 and 6 m/s, each before its sample, the means at the samples are 2,
    # 2½ and 4, and the accelerations 4, −2 and 8; filtered by 0, 0, 1 the efforts are
    # those of the next sample.
    batch = recording([[1, 0], [3, 0], [2, 0], [6, 0]], np.zeros((3, 2)))
    error = InverseDynamicsError(staggered=True)
    q, velocity, acceleration, duration, _ = error.motions(cart(1.0, 1.0), batch)
    np.testing.assert_allclose(velocity[:, 0], [2, 2.5, 4])
    np.testing.assert_allclose(acceleration[:, 0], [4, -2, 8])
    assert not duration.any()
    model, later = Rubbing(jnp.array([1.0, 1.0])), np.array([0.0, 0.0, 1.0])
    plain = np.asarray(error.errors(model, batch))
    error = InverseDynamicsError(staggered=True, filter=later)
    changed = error.errors(model, batch)
    np.testing.assert_allclose(changed, plain[2:])
    with pytest.raises(RobooptError, match="`central` and `staggered` exclude"):
        InverseDynamicsError(central=True, staggered=True)


def test_huber_by_hand():
    # At threshold 1 scaled errors of 3, 3, 1 and ½ cost 2.5, 2.5, ½ and ⅛.
    objective = InverseDynamicsError(scale=np.array([1.0, 2.0]), loss=Huber(1.0))
    assert objective(cart(2.0, 1.0), BATCH) == pytest.approx(5.625 / 4)


def test_central_accelerations_by_hand():
    # Slopes of 2, −2 and 6: at the first sample 2, then (2 − 2)/2 and (−2 + 6)/2.
    batch = recording([[0, 0], [1, 0], [0, 0], [3, 0]], np.zeros((3, 2)))
    errors = InverseDynamicsError(central=True).errors(cart(1.0, 1.0), batch)
    np.testing.assert_allclose(errors[:, 0], [2.0 + 0, 0.0 + 3, 2.0 + 0], atol=1e-15)


@pytest.mark.parametrize("central", [True, False])
def test_uneven_times(central):
    # v = t² at 0, 1, 3 and 4 s: slopes of 1, 4 and 7; the parabola's are 2 t exactly.
    times = np.array([0.0, 1.0, 3.0, 4.0])
    velocities = np.stack([times**2, 0 * times], 1)
    batch = recording(velocities, np.zeros((3, 2)), 4 / 3, times)
    slope = [1.0, 2.0, 6.0] if central else [1.0, 4.0, 7.0]
    errors = InverseDynamicsError(central=central).errors(cart(1.0, 1.0), batch)
    np.testing.assert_allclose(errors[:, 0], slope + 3 * times[:-1] ** 2, rtol=1e-14)
    # A batch of several, with times of their own.
    both = jax.tree.map(lambda x: np.stack([x, x]), batch)
    errors = InverseDynamicsError(central=central).errors(cart(1.0, 1.0), both)
    np.testing.assert_allclose(errors[1, :, 0], slope + 3 * times[:-1] ** 2, rtol=1e-14)


@pytest.mark.parametrize("free", ["mass", "effort_gain"])
def test_the_twins_own_motions_have_no_error(free):
    twin = pendulum_twin()
    batch = record(twin, steps=20)
    errors = errors_of(ParametricTwin(twin, free), batch)
    np.testing.assert_allclose(errors, 0.0, atol=1e-12)
    errors = errors_of(twin.robot, batch)
    np.testing.assert_allclose(errors, 0.0, atol=1e-12)


def test_it_is_linear_in_mass_and_damping():
    # Half the mass asks for half of what is not friction: τ = ½ (u − d q̇) + d q̇.
    twin = pendulum_twin()
    batch = record(twin, steps=5)
    model = ParametricTwin(twin, ("mass", "damping"))
    moved = jnp.array([np.log(1.0), 0.4])
    model = eqx.tree_at(lambda m: m.coordinates, model, moved)
    errors = errors_of(model, batch)
    speed = batch.observations[:-1, 1:]
    np.testing.assert_allclose(
        errors, 0.4 * speed - 0.5 * batch.actions, rtol=1e-10, atol=1e-12
    )


def test_a_delay_shifts_the_recorded_efforts():
    twin = pendulum_twin()
    batch = record(twin, steps=10)
    felt = np.asarray(batch.actions)
    late = Trajectory(
        np.stack([batch.observations] * 2), np.stack([np.roll(felt, -1, 0)] * 2), 0.1
    )
    model = ParametricTwin(twin, "delay")
    model = eqx.tree_at(lambda m: m.coordinates, model, jnp.array([0.1]))
    errors = errors_of(model, late)
    np.testing.assert_allclose(errors[:, 1:], 0.0, atol=1e-12)


def test_joints_that_nothing_drives_should_feel_nothing():
    class Driven(Cart):
        actuated: tuple[int, ...] = eqx.field(static=True, default=(1,))

    batch = recording([[0, 1], [1, 3], [0, 3]], [[1], [10]])
    errors = InverseDynamicsError().errors(Driven(jnp.array([2.0, 1.0])), batch)
    np.testing.assert_array_equal(errors, [[4.0, 6.0], [-1.0, -1.0]])


def test_gradient_matches_finite_differences():
    twin = pendulum_twin()
    model = ParametricTwin(twin, ("mass", "damping", "effort_gain", "delay"))
    batch = record(twin, steps=6)

    def value(coordinates):
        moved = eqx.tree_at(lambda m: m.coordinates, model, coordinates)
        return InverseDynamicsError(scale=np.ones(1))(moved, batch)

    assert_derivatives(value, (jnp.array([0.5, 0.2, 1.1, 0.03]),))


@pytest.mark.parametrize("scale", [np.array([1.0, 0.0]), jnp.array([1.0, -1.0])])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="`scale` must hold one positive"):
        InverseDynamicsError(scale=scale)


@pytest.mark.parametrize(
    "scale, batch, match",
    [
        (np.ones(3), BATCH, r"each of the 2 axes, got shape \(3,\)"),
        (
            None,
            Trajectory(np.zeros((3, 3)), np.zeros((2, 2)), 0.1),
            r"`batch` must hold \[q, q̇\] of 2 joints, got observations of 3",
        ),
        (
            None,
            Trajectory(np.zeros((3, 4)), np.zeros((2, 1)), 0.1),
            "`batch` must hold one action for each of the 2 actuated joints, got 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(scale, batch, match):
    with pytest.raises(ValueError, match=match):
        InverseDynamicsError(scale=scale).residuals(cart(1.0, 1.0), batch)


@pytest.mark.parametrize("kind", [{}, {"central": True}, {"staggered": True}])
def test_motions_of_numpy_arrays_are_those_of_a_program(kind):
    # They compile nothing for the length of a recording.
    error = InverseDynamicsError(every=2, **kind)
    times = np.array([0.0, 0.4, 1.0, 1.3, 2.0])
    for at in (None, times):
        run = recording(
            [[0, 1], [1, 3], [0, 3], [2, 2], [5, 1]], np.ones((4, 2)), 0.5, at
        )
        found = error.motions(cart(1.0, 2.0), run)
        expected = jax.jit(lambda x: error.motions(cart(1.0, 2.0), x))(run)
        assert all(isinstance(x, np.ndarray) for x in found[:4])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-14)
