import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import ROBOTS
from derivatives import assert_derivatives

from roboopt.dynamics import _log_cholesky as cholesky
from roboopt.dynamics import load_urdf


def rebuilt(mass, inertia):
    logs, shears = cholesky.shape_coordinates(mass, inertia)
    return np.asarray(cholesky.inertia(*map(jnp.asarray, (mass, logs, shears))))


def test_a_diagonal_inertia_by_hand():
    # Two points of 1 kg at (±3, 0, 0), two at (0, ±2, 0) and two at (0, 0, ±1) m: the
    # second moments are 18, 8 and 2 kg·m², so that I = diag(8 + 2, 18 + 2, 18 + 8), and
    # U Uᵀ = Σ/m has the diagonal 3, 4/3, 1/3 m².
    inertia = np.diag([10.0, 20.0, 26.0])
    np.testing.assert_allclose(
        cholesky.second_moment(inertia), np.diag([18.0, 8.0, 2.0])
    )
    logs, shears = cholesky.shape_coordinates(6.0, inertia)
    np.testing.assert_allclose(np.exp(2 * logs), [3.0, 4 / 3, 1 / 3], rtol=1e-14)
    np.testing.assert_array_equal(shears, 0.0)


def test_shears_by_hand():
    # m = 2 and U = [1 2 3; 0 1 4; 0 0 1] give Σ = 2 U Uᵀ = 2 [14 14 3; 14 17 4; 3 4 1],
    # of the trace 64, and I = 64 − Σ.
    moment = 2 * np.array([[14.0, 14.0, 3.0], [14.0, 17.0, 4.0], [3.0, 4.0, 1.0]])
    inertia = cholesky.inertia(jnp.array(2.0), jnp.zeros(3), jnp.array([2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(inertia, 64 * np.eye(3) - moment)
    logs, shears = cholesky.shape_coordinates(2.0, np.asarray(inertia))
    np.testing.assert_allclose(logs, 0.0, atol=1e-13)
    np.testing.assert_allclose(shears, [2.0, 3.0, 4.0], rtol=1e-13)


@pytest.mark.parametrize("seed", range(10))
def test_every_coordinate_is_a_possible_body(seed):
    rng = np.random.default_rng(seed)
    mass = float(np.exp(3 * rng.normal()))
    logs, shears = 2 * rng.normal(size=3), 3 * rng.normal(size=3)
    inertia = cholesky.inertia(*map(jnp.asarray, (mass, logs, shears)))
    np.testing.assert_array_equal(inertia, inertia.T)
    moments = np.linalg.eigvalsh(np.asarray(inertia))
    assert moments[0] > 0
    assert moments[0] + moments[1] > moments[2] * (1 - 1e-12)
    # det Σ = m³ e^{2 (d₁ + d₂ + d₃)}: positive, whatever the coordinates.
    sign, log = np.linalg.slogdet(cholesky.second_moment(np.asarray(inertia)))
    assert sign == 1
    np.testing.assert_allclose(log, 3 * np.log(mass) + 2 * logs.sum(), atol=1e-4)


@pytest.mark.parametrize("name", ["cart_pole", "two_link", "iiwa"])
def test_inertias_of_robots_come_back(name):
    robot = load_urdf(ROBOTS[name])
    count = 0
    for mass, inertia in zip(robot.masses, robot.inertias, strict=True):
        known = np.asarray(inertia)
        moments = np.linalg.eigvalsh(cholesky.second_moment(known))
        if mass == 0 or moments[0] < cholesky.MIN_EXTENT_RATIO**2 * moments[-1]:
            continue  # Flat, or no body at all.
        count += 1
        np.testing.assert_allclose(
            rebuilt(float(mass), known), known, rtol=0, atol=1e-12 * known.max()
        )
    assert count


def test_random_inertias_come_back():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points, masses = rng.normal(size=(8, 3)), rng.uniform(0.1, 1, 8)
        points -= masses @ points / masses.sum()
        moment = (masses[:, None] * points).T @ points
        known = np.trace(moment) * np.eye(3) - moment
        np.testing.assert_allclose(
            rebuilt(masses.sum(), known), known, rtol=0, atol=1e-12 * known.max()
        )


def test_a_flat_body_is_a_thousandth_of_its_extent_thick():
    # A thin rod of 3 kg along x, Σ/m = diag(4, 0, 0) m²: the floor is 4·10⁻⁶ m².
    logs, shears = cholesky.shape_coordinates(3.0, np.diag([0.0, 12.0, 12.0]))
    np.testing.assert_allclose(np.exp(logs), [2.0, 2e-3, 2e-3], rtol=1e-12)
    np.testing.assert_allclose(shears, 0.0, atol=1e-15)


def test_a_point_is_a_millimetre_wide():
    logs, shears = cholesky.shape_coordinates(3.0, np.zeros((3, 3)))
    np.testing.assert_allclose(np.exp(logs), 1e-3, rtol=1e-12)
    np.testing.assert_allclose(shears, 0.0, atol=1e-15)


def test_gradient_matches_finite_differences():
    point = 1.3, jnp.array([0.1, -0.3, 0.2]), jnp.array([0.2, -0.1, 0.4])
    assert_derivatives(cholesky.inertia, point)


def test_an_extent_counts_squared():
    # ∂I_yy/∂d₁ = ∂(Σ_xx + Σ_zz)/∂d₁ = 2 m e^{2 d₁}; I_xx does not feel it.
    slope = jax.jacfwd(cholesky.inertia, argnums=1)(
        jnp.array(2.0), jnp.array([np.log(3.0), 0.0, 0.0]), jnp.zeros(3)
    )
    np.testing.assert_allclose(
        np.diagonal(slope[..., 0]), [0.0, 36.0, 36.0], rtol=1e-13, atol=1e-14
    )
