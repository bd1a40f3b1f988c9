import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt import Bound, Trajectory, Twin, load_urdf
from roboopt.diagnose import identifiability
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError, ResidualObjective

Z = 1.959963984540054


class Regression(ResidualObjective):
    """y = X θ."""

    def residuals(self, model, batch):
        return batch[0] @ coordinates(model) - batch[1]


class Named(eqx.Module):
    """Parameters with names, and masses among them."""

    z: jax.Array
    names: tuple[str, ...] = eqx.field(static=True)
    positive: tuple[bool, ...] = eqx.field(static=True)
    size: tuple[float, ...] = eqx.field(static=True)

    @property
    def units(self):
        return ("kg",) * len(self.names)

    def values(self):
        return jnp.where(jnp.array(self.positive), jnp.exp(self.z), self.z)

    def spans(self):
        return np.array(self.size)


def coordinates(model):
    return model.values() if isinstance(model, Named) else model


def named(z, *, positive=None, size=None):
    count = len(z)
    return Named(
        jnp.asarray(z, float),
        tuple("abcdefgh"[:count]),
        (False,) * count if positive is None else positive,
        (1.0,) * count if size is None else size,
    )


# Residuals of ±1, orthogonal to x = (1, 1, 2, 2): their s² is 4/3, ‖x‖² = 10.
X = np.array([[1.0], [1.0], [2.0], [2.0]])
SIGNS = np.array([1.0, -1.0, 1.0, -1.0])


def test_the_interval_of_a_regression_by_hand():
    model = jnp.array([5.0])
    verdict = identifiability(Regression(), model, (X, 5 * X[:, 0] + SIGNS))
    half = Z * np.sqrt(4 / 3 / 10)
    np.testing.assert_allclose(verdict.values, [5.0])
    np.testing.assert_allclose([verdict.lower, verdict.upper], [[5 - half], [5 + half]])
    np.testing.assert_allclose(verdict.covariance, [[4 / 30]])
    assert verdict.verdicts == ("identified",)
    assert verdict.sentence(0) == "identified"
    assert verdict.names == ("[0]",) and verdict.units == ("1",)
    np.testing.assert_allclose(verdict.singular_values, [1.0])
    assert verdict.condition == 1.0
    assert verdict.combinations == ()


def test_what_was_not_fitted_widens_intervals_by_hand():
    # A quantity that adds 0.3 x to the residuals moves θ by 0.3; one that adds what no
    # θ explains moves nothing. The variances add: 4/30 + 0.3².
    data, model = (X, 5 * X[:, 0] + SIGNS), jnp.array([5.0])
    uncertain = np.stack([0.3 * X[:, 0], SIGNS])
    found = identifiability(Regression(), model, data, uncertain=uncertain)
    np.testing.assert_allclose(found.covariance, [[4 / 30 + 0.09]])
    half = Z * np.sqrt(4 / 30 + 0.09)
    np.testing.assert_allclose([found.lower, found.upper], [[5 - half], [5 + half]])


def test_the_interval_of_a_mass_is_that_of_its_logarithm():
    # m = e^μ = 5: dy/dμ = 5 x, so that μ is known to Z √(4/3/250).
    model = named([np.log(5.0)], positive=(True,))
    verdict = identifiability(Regression(), model, (X, 5 * X[:, 0] + SIGNS))
    half = Z * np.sqrt(4 / 3 / 250)
    np.testing.assert_allclose(verdict.values, [5.0])
    np.testing.assert_allclose(
        [verdict.lower[0], verdict.upper[0]], [5 * np.exp(-half), 5 * np.exp(half)]
    )
    assert verdict.names == ("a",) and verdict.units == ("kg",)


def test_the_interval_of_a_quantity_by_hand():
    # θ² at 5 ± h is 25 ± 2·5·h; (θ, 3 θ) is 5 ± h and 15 ± 3 h.
    data = (X, 5 * X[:, 0] + SIGNS)
    verdict = identifiability(Regression(), jnp.array([5.0]), data)
    half = Z * np.sqrt(4 / 3 / 10)
    value, width = verdict.interval(lambda model: model[0] ** 2)
    np.testing.assert_allclose([value, width], [25.0, 10 * half])
    value, width = verdict.interval(lambda model: jnp.stack([model[0], 3 * model[0]]))
    np.testing.assert_allclose(value, [5.0, 15.0])
    np.testing.assert_allclose(width, [half, 3 * half])


def excited(*columns, noise=0.01, count=100, seed=0):
    """Return a design whose columns are sums of independent ones, and its noise."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(count, 4))
    design = np.stack([base @ np.pad(c, (0, 4 - len(c))) for c in columns], 1)
    return design, noise * rng.normal(size=count)


def said(verdict):
    return tuple(str(combination) for combination in verdict.combinations)


def test_only_a_sum_is_known():
    # y = (a + b) x₁ + c x₂.
    design, noise = excited([1.0], [1.0], [0.0, 1.0])
    model = named([1.0, 2.0, 3.0])
    data = (design, design @ np.array([1.0, 2.0, 3.0]) + noise)
    verdict = identifiability(Regression(), model, data)
    assert verdict.verdicts == (
        "only in combination",
        "only in combination",
        "identified",
    )
    assert verdict.partners == (("b",), ("a",), ())
    assert verdict.sentence(0) == "only in combination with b"
    assert said(verdict) in [("a + b",), ("b + a",)]
    assert np.all(np.isinf(verdict.lower[:2])) and np.all(np.isinf(verdict.upper[:2]))
    assert verdict.upper[2] - verdict.lower[2] < 0.01
    assert verdict.condition > 1e9
    # The sum itself is known: as well as c, here, to 1 % over √100.
    value, width = verdict.interval(lambda m: m.z[0] + m.z[1])
    assert value == 3.0
    assert 0.001 < width < 0.003


def test_a_difference_is_known_of_masses_in_kilogrammes():
    # y = (a − 2 b) x with a = 5 and b = 1 kg, of which the logarithms are fitted.
    design, noise = excited([1.0], [-2.0])
    model = named([np.log(5.0), np.log(1.0)], positive=(True, True))
    data = (design, 3 * design[:, 0] + noise)
    verdict = identifiability(Regression(), model, data)
    assert verdict.verdicts == ("only in combination",) * 2
    assert said(verdict) == ("a − 2 b",)
    # 5 − 2 · 1 kg, known to 1 % of one over √100.
    (known,) = verdict.combinations
    assert known.coefficients == pytest.approx({"a": 1.0, "b": -2.0})
    assert known.value == pytest.approx(3.0)
    assert 0.001 < known.half_width < 0.003
    # What must be positive is between 0 and infinity.
    np.testing.assert_array_equal(verdict.lower, 0.0)
    np.testing.assert_array_equal(verdict.upper, np.inf)


def test_two_combinations_of_four():
    # x₁ (a + b) + x₂ (c − 3 d).
    design, noise = excited([1.0], [1.0], [0.0, 1.0], [0.0, -3.0])
    theta = np.array([1.0, 2.0, 3.0, 4.0])
    verdict = identifiability(
        Regression(), named(theta), (design, design @ theta + noise)
    )
    assert verdict.verdicts == ("only in combination",) * 4
    assert verdict.partners == (("b",), ("a",), ("d",), ("c",))
    first, second = sorted(said(verdict), key=lambda words: "c" in words)
    assert first in ("a + b", "b + a")
    assert second in ("c − 3 d", "−3 d + c")


def test_what_the_data_do_not_feel():
    # Not at all; and only as much as the noise hides.
    design, noise = excited([1.0], [0.0], [0.0, 1e-6], noise=0.3)
    theta = np.array([1.0, 2.0, 3.0])
    verdict = identifiability(
        Regression(), named(theta), (design, design @ theta + noise)
    )
    assert verdict.verdicts == ("identified", "not excited", "not excited")
    np.testing.assert_array_equal(verdict.lower[1:], -np.inf)
    np.testing.assert_array_equal(verdict.upper[1:], np.inf)
    assert verdict.combinations == () and verdict.partners == ((),) * 3
    assert len(verdict.singular_values) == 1


@pytest.mark.parametrize("share", [0.16, 0.45, 0.6])
def test_what_is_known_a_little_is_no_less_excited(share):
    # y = θ x with Σx² = 10 and s² = 4/3: the standard error is √(4/30) = 0.365, of
    # which θ is 1 / share times as much. Its interval says all that is known of it.
    theta = np.array([np.sqrt(4 / 30) / share])
    data = (X, X @ theta + SIGNS)
    verdict = identifiability(Regression(), named(theta, size=(0.1,)), data)
    # Beyond a half the data do not tell it from zero even if it was the only one.
    known = share <= 0.5
    assert verdict.verdicts == ("identified" if known else "not excited",)
    if known:
        assert verdict.upper[0] - theta[0] == pytest.approx(Z * share * theta[0])
        assert verdict.lower[0] > 0


def test_a_wide_interval_that_leaves_out_zero_is_told_beside_a_partner():
    # Two columns of a correlation of 0.9, each of a standard error of a third.
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 400))
    design = np.column_stack([one, 0.9 * one + np.sqrt(1 - 0.81) * two])
    noise = 2.9 * rng.normal(size=400)
    noise -= design @ np.linalg.lstsq(design, noise, rcond=None)[0]
    for theta, told in (([1.0, 1.0], "identified"), ([0.2, 0.2], "only in comb")):
        theta = np.array(theta)
        data = (design, design @ theta + noise)
        verdict = identifiability(Regression(), named(theta), data)
        assert all(one.startswith(told) for one in verdict.verdicts)
        known = told == "identified"
        assert all((verdict.lower > 0) == known) and bool(verdict.combinations) != known


@pytest.mark.parametrize(
    ("felt", "mixed"), [(0.05, 2), (0.1, 0), (0.1, 1), (0.3, 0), (0.3, 2)]
)
def test_what_is_felt_little_leaves_a_known_sum_known(felt, mixed):
    # The data tell much of a + b, and less of c, of which they hold `mixed` in a + b.
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(2, 400))
    design = np.column_stack([one, one, felt * (mixed * one + two)])
    noise = rng.normal(size=400)
    noise -= design @ np.linalg.lstsq(design, noise, rcond=None)[0]
    theta = np.ones(3)
    data = (design, design @ theta + noise)
    verdict = identifiability(Regression(), named(theta), data)
    assert all(one.startswith("only in comb") for one in verdict.verdicts[:2])
    [combination] = verdict.combinations
    told = combination.coefficients
    assert told["a"] == pytest.approx(told["b"])
    assert combination.half_width < 0.2 * combination.value


def test_what_is_at_its_bound():
    design, noise = excited([1.0], [0.0, 1.0])
    theta = np.array([1.0, 0.0])
    bounds = [Bound(lambda m: m.z, np.array([-np.inf, 0.0]), np.inf)]
    verdict = identifiability(
        Regression(), named(theta), (design, design @ theta + noise), bounds=bounds
    )
    assert verdict.verdicts == ("identified", "at its bound")
    assert verdict.covariance[1, 1] == 0.0
    assert verdict.lower[1] == verdict.upper[1] == 0.0
    assert len(verdict.singular_values) == 1


def test_intervals_end_at_bounds():
    design, noise = excited([1.0], [0.0, 1.0], noise=1.0)
    theta = np.array([1.0, 0.01])
    bounds = [Bound(lambda m: m.z, np.array([-np.inf, 0.0]), np.inf)]
    data = (design, design @ theta + noise)
    free = identifiability(Regression(), named(theta), data)
    verdict = identifiability(Regression(), named(theta), data, bounds=bounds)
    assert free.lower[1] < 0.0 == verdict.lower[1]
    assert verdict.upper[1] == free.upper[1]
    assert verdict.lower[0] == free.lower[0]


def test_everything_may_be_at_a_bound():
    design, noise = excited([1.0])
    bounds = [Bound(lambda m: m.z, 0.0, 9.0)]
    verdict = identifiability(
        Regression(), named([0.0]), (design, noise), bounds=bounds
    )
    assert verdict.verdicts == ("at its bound",)
    assert verdict.condition == 1.0


def test_only_what_was_trained_is_judged():
    design, noise = excited([1.0], [1.0])
    model = (jnp.array([1.0]), jnp.array([2.0]))

    class Both(ResidualObjective):
        def residuals(self, model, batch):
            return batch[0] @ jnp.concatenate(model) - batch[1]

    data = (design, design @ np.array([1.0, 2.0]) + noise)
    verdict = identifiability(Both(), model, data, trainable=lambda m: m[1])
    assert verdict.verdicts == ("identified",)
    assert verdict.names == ("[1][0]",)


def test_many_partners_are_counted():
    design, noise = excited(*[[1.0]] * 6)
    theta = np.ones(6)
    verdict = identifiability(
        Regression(), named(theta), (design, design @ theta + noise)
    )
    assert len(verdict.partners[0]) == 5
    assert verdict.sentence(0).endswith(" and 2 more")


@pytest.mark.parametrize("smooth, least, most", [(0, 0.90, 0.99), (10, 0.85, 1.0)])
def test_intervals_hold_the_truth_19_times_in_20(smooth, least, most):
    # Of 200 regressions with a standard error of 0.015 of the share itself; smoothed,
    # with noise (and inputs) that are means of 10 samples.
    rng = np.random.default_rng(0)
    truth = np.array([1.0, 2.0])
    inside = []
    for _ in range(200):
        design, noise = rng.normal(size=(300, 2)), rng.normal(size=300)
        if smooth:
            mean = np.ones(smooth) / smooth
            design = np.stack([np.convolve(c, mean, "same") for c in design.T], 1)
            noise = np.convolve(noise, mean, "same")
        y = design @ truth + noise
        fitted = jnp.asarray(np.linalg.lstsq(design, y)[0])
        verdict = identifiability(Regression(), fitted, (design, y))
        inside.append((verdict.lower < truth) & (truth < verdict.upper))
        assert np.all(verdict.upper - verdict.lower < 2.0)
    assert least <= np.mean(inside) <= most


PENDULUM = """<robot name="pendulum"><link name="base"/>
    <link name="arm"><inertial><origin xyz="0.5 0 0"/><mass value="2"/>
    <inertia ixx="0.1" iyy="0.1" izz="0.1"/></inertial></link>
    <joint name="hinge" type="continuous"><parent link="base"/><child link="arm"/>
    <axis xyz="0 1 0"/></joint></robot>"""


def test_a_pendulum_gives_its_first_moment_and_its_inertia(tmp_path):
    # Along the arm m c is known of the weight, and I + m c² of the inertia; the mass
    # and the center by themselves are not (Gautier and Khalil).
    path = tmp_path / "pendulum.urdf"
    path.write_text(PENDULUM)
    robot = load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    rng = np.random.default_rng(0)
    observations = rng.uniform(-2, 2, (201, 2))
    acceleration = np.diff(observations[:, 1:], axis=0) / 0.1
    # 0.6 q̈ − 2·9.81·0.5 cos q
    weight = 9.81 * np.cos(observations[:-1, :1])
    actions = 0.6 * acceleration - weight + 0.01 * rng.normal(size=(200, 1))
    data = Trajectory(observations, actions, 0.1)
    free = ("mass", "center_of_mass.x", "extent.x")
    model = ParametricTwin(Twin(robot, 0.1), free)
    verdict = identifiability(InverseDynamicsError(scale=np.ones(1)), model, data)
    assert verdict.verdicts == ("only in combination",) * 3
    value, width = verdict.interval(
        lambda m: m.robot.masses[0] * m.robot.centers_of_mass[0, 0]
    )
    assert value == pytest.approx(1.0) and width < 0.01
    value, width = verdict.interval(lambda m: m.robot.mass_matrix(jnp.zeros(1))[0, 0])
    assert value == pytest.approx(0.6) and width < 0.01


def test_an_objective_without_residuals_is_refused():
    with pytest.raises(ValueError, match="`objective` must have .*residuals"):
        identifiability(lambda model, data: 0.0, jnp.ones(1), np.ones(1))


def test_a_model_with_nothing_to_tune_is_refused():
    with pytest.raises(ValueError, match="`model` must have a floating-point array"):
        identifiability(Regression(), 1.0, (X, SIGNS))
