"""Gradients at both ends of a descent, from notes alone, and their section."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.diagnose import (
    DescentPath,
    explain_descent,
    explain_residuals,
    gradient_section,
)
from roboopt.objectives import Objective, Prior, Term
from roboopt.optimize import Fit
from roboopt.report import Figure, Notes


def bowl(model: Any, batch: Any) -> Any:
    return 0.5 * jnp.sum((model["gains"] - jnp.array([1.0, -2.0])) ** 2)


@pytest.fixture(scope="module")
def descent() -> tuple[Any, ro.Result]:
    start = {"gains": jnp.array([3.0, -4.0])}
    result = ro.minimize(bowl, start, jnp.ones(1), steps=3, optimizer=optax.sgd(0.5))
    return start, result


def test_both_ends_by_hand(descent):
    # The gradient is (3 − 1, −4 + 2) = (2, −2) at first and an eighth of that after
    # three steps that halve it. One percent of 3 is 0.03 and changes L by 0.06.
    found = explain_descent(*descent, units={"gains[0]": "N/m"})
    first, last = found["start"], found["end"]
    np.testing.assert_allclose(first.gradient, [2, -2], rtol=1e-14)
    np.testing.assert_allclose(first.changes[0], [-0.06, 0.06], rtol=1e-12)
    np.testing.assert_allclose(last.gradient, [0.25, -0.25], rtol=1e-14)
    np.testing.assert_allclose(last.values, [1.25, -2.25], rtol=1e-14)
    assert first.units == ("N/m", "")
    assert [first.direction(k) for k in range(2)] == ["lowering it", "raising it"]
    assert "learning rate" not in str(first)
    assert (
        "0.06" in str(first) and max(map(len, first.summary().text().split("\n"))) < 81
    )


def test_the_report_has_the_table_and_the_words_of_the_command():
    pytest.importorskip("matplotlib")
    start = {"gains": jnp.array([3.0, -4.0])}
    result = ro.minimize(bowl, start, jnp.ones(1), steps=9, optimizer=optax.sgd(0.5))
    found = explain_descent(start, result)
    section = gradient_section(found, result.history)
    assert section is not None
    page = section.html()
    # Nine steps that halve it: 0.5⁹ = 0.002.
    assert "The gradient is 0.002 times as long as at the start" in page
    for each in found.values():
        assert each.parameter_table().html() in page
        assert Notes(each.sentences()).html() in page
    assert "By its slope alone" in page and "they were not tried" in page
    full = ro.explain(bowl, start, jnp.ones(1))
    section = gradient_section({"end": full}, {})
    assert section is not None
    for table in full.summary().tables:
        assert table.html() in section.html()
    assert "<figcaption>" in section.html()


def test_each_parameter_has_a_path_and_a_reason():
    # With η = 0.5 each step halves the distances to 1 and −2: the first gain falls
    # from 3 to 1.25, and the second rises from −4 to −2.25.
    start = {"gains": jnp.array([3.0, -4.0])}
    result = ro.minimize(bowl, start, jnp.ones(1), steps=3, optimizer=optax.sgd(0.5))
    path = DescentPath.of(result, units={"gains[0]": "N/m"})
    assert path is not None and path.names == ("gains[0]", "gains[1]")
    np.testing.assert_allclose(path.values[:, 0], [3, 2, 1.5, 1.25], rtol=1e-14)
    np.testing.assert_allclose(path.derivatives[:, 1], [-2, -1, -0.5, -0.25])
    assert path.table().rows[0] == [
        "gains[0] [N/m]",
        "3",
        "1.25",
        "2",
        "0.25",
        "1.75",
        "0",
    ]
    one = "gains[0] fell from 3 to 1.25, as its derivative asked: L fell by lowering it"
    assert one in " ".join(path.sentences())
    # With momentum a parameter goes on against its derivative.
    heavy = optax.sgd(0.3, momentum=0.9)
    result = ro.minimize(bowl, start, jnp.ones(1), steps=12, optimizer=heavy)
    path = DescentPath.of(result)
    assert path is not None
    moves = np.diff(path.values[:, 0])
    uphill = moves * path.derivatives[:-1, 0] > 0
    along, against = path.ways()
    assert against[0] == pytest.approx(np.abs(moves[uphill]).sum()) and uphill.any()
    assert along[0] + against[0] == pytest.approx(np.abs(moves).sum(), rel=1e-12)
    assert path.table().rows[0][-1] == f"{against[0]:.3g}"
    assert "it went" in path.sentences()[0] and "Uphill" in path.sentences()[-1]


def test_logarithms_are_explained_as_the_numbers():
    # L = x² / 2 of x = ln k: a step of −0.5 dL/dx halves x, and dL/dk = x / k.
    start = {"log_gains": jnp.array([2.0]), "log_offset": jnp.array(0.0)}
    slope = optax.sgd(0.5)
    result = ro.minimize(
        lambda m, _: 0.5 * m["log_gains"][0] ** 2 + m["log_offset"],
        start, None, steps=1, optimizer=slope,
    )  # fmt: skip
    path = DescentPath.of(result, units={"gains[0]": "N"}, name=str.upper)
    assert path is not None and path.names == ("GAINS[0]", "OFFSET")
    assert path.units == ("N", "")
    np.testing.assert_allclose(path.values[:, 0], np.exp([2, 1]), rtol=1e-14)
    slopes = np.array([2, 1]) / np.exp([2, 1])
    np.testing.assert_allclose(path.derivatives[:, 0], slopes, rtol=1e-14)
    np.testing.assert_allclose(path.derivatives[:, 1], [1, np.exp(0.5)], rtol=1e-14)


def test_the_way_of_a_parameter_by_hand():
    # 0 → 2 downhill, 2 → 3 uphill, 3 → 2.5 downhill back: it rose by 2.5, of a way of 3
    # up where the derivative asked for 2, and 0.5 down.
    values, slopes = [0.0, 2.0, 3.0, 2.5], [-1.0, 1.0, 1.0, 0.0]
    path = DescentPath(("p",), ("",), np.array([values]).T, np.array([slopes]).T)
    np.testing.assert_allclose(path.ways(), [[2.5], [1.0]], rtol=1e-14)
    said = path.sentences()[0]
    assert "p rose from 0 to 2.5: it went 2 that way where" in said
    assert "and 1 where L falls by lowering it" in said
    assert "in between it fell by 0.5" in said


def test_a_descent_notes_its_path_only_of_small_models():
    pytest.importorskip("matplotlib")
    start, heavy = {"gains": jnp.array([3.0, -4.0])}, optax.sgd(0.3, momentum=0.9)
    result = ro.minimize(bowl, start, jnp.ones(1), steps=2, optimizer=heavy)
    path = DescentPath.of(result)
    assert path is not None
    assert "L falls by raising it" in path.blocks()[-1].html()
    large = ro.minimize(
        lambda m, _: jnp.sum(m**2), jnp.ones(51), None, steps=2, optimizer=heavy
    )
    assert DescentPath.of(large) is None


def test_arrays_have_norms_and_agree_with_explain():
    def cost(model: Any, x: Any) -> Any:
        return jnp.sum(jnp.tanh(model["weight"] @ x + model["bias"]) ** 2)

    start = {"weight": jnp.linspace(-1, 1, 30).reshape(6, 5), "bias": jnp.ones(6)}
    result = ro.minimize(cost, start, jnp.arange(5.0) / 5, steps=1)
    light = explain_descent(start, result)["start"]
    full = ro.explain(cost, start, jnp.arange(5.0) / 5)
    assert light.names == full.names and light.sizes == (6, 30)
    np.testing.assert_allclose(light.gradient, full.gradient, rtol=1e-12)
    # To first order; what the second adds is of the size of 1 %.
    np.testing.assert_allclose(light.changes, full.changes, rtol=0.05)


def test_section_shows_both_ends_and_the_steps(descent):
    pytest.importorskip("matplotlib")
    start, result = descent
    section = gradient_section(explain_descent(start, result), result.history)
    assert section is not None
    page = section.html()
    for text in ("gains[0]", "L falls by", "Norm of the gradient", "predicted"):
        assert text in page
    assert "which no step did" in page
    named = [block.name for block in section.blocks if isinstance(block, Figure)]
    assert named[:2] == ["at the start", "at the end"]  # as are their files
    assert gradient_section({}, {"loss": np.ones(3)}) is None


def test_steps_that_raise_the_loss_are_counted():
    pytest.importorskip("matplotlib")
    start = {"gains": jnp.array([3.0, -4.0])}
    result = ro.minimize(bowl, start, jnp.ones(1), steps=2, optimizer=optax.sgd(2.5))
    section = gradient_section(explain_descent(start, result), result.history)
    assert section is not None and "as 2 steps did" in section.html()


class Line(Objective):
    """The residuals a x − y of a line through the origin."""

    def residuals(self, model: Any, data: Any) -> Any:
        return model["slope"] * data["x"] - data["y"]

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        loss = 0.5 * jnp.mean(self.residuals(model, batch) ** 2)
        return {"line": Term(loss, 1.0, "1")}


def test_residuals_to_second_order():
    # With x = (1, 2), y = (2, 4), a = 1 the residuals are (−1, −2): L = 5/4, dL/da =
    # −5/2, d²L/da² = 5/2, and 1 % of a changes L by ∓0.025 + 0.000125, exactly.
    data = {"x": jnp.array([1.0, 2.0]), "y": jnp.array([2.0, 4.0])}
    found = explain_residuals(Fit.of(Line(), {"slope": jnp.asarray(1.0)}, data))
    np.testing.assert_allclose([found.loss, *found.gradient], [1.25, -2.5], rtol=1e-14)
    np.testing.assert_allclose(found.changes[0], [0.025125, -0.024875], rtol=1e-12)
    # A step of 0.1 · 2.5 = 0.25 changes it by −0.625 + ½·2.5·0.25² = −0.546875.
    np.testing.assert_allclose(
        [found.predicted[2], found.actual[2], found.curvature],
        [-0.625, -0.546875, 2.5],
        rtol=1e-12,
    )
    # The best a is 2: from 1.999 one percent is too far either way.
    best = explain_residuals(Fit.of(Line(), {"slope": jnp.asarray(1.999)}, data))
    assert best.direction(0) == "flat ± 1 %"
    assert "either way raises the loss" in best.sentences()[0]


def test_a_fit_with_a_prior_is_split_by_term_by_hand():
    # The fit pulls a with −5/2 as above; the prior at a = 0.5 with scale 0.1, weight 2,
    # is ½·2·(0.5/0.1)² = 25 with the derivative 2·0.5/0.1² = 100: they are opposed.
    data = {"x": jnp.array([1.0, 2.0]), "y": jnp.array([2.0, 4.0])}
    center = {"slope": jnp.asarray(0.5)}
    both = Line() + 2.0 * Prior(center, lambda m: m["slope"], 0.1)
    found = explain_residuals(Fit.of(both, {"slope": jnp.asarray(1.0)}, data))
    assert [term.name for term in found.terms] == ["line", "prior"]
    np.testing.assert_allclose([t.value for t in found.terms], [1.25, 25], rtol=1e-12)
    np.testing.assert_allclose(found.derivatives, [[-2.5, 100, 97.5]], rtol=1e-12)
    np.testing.assert_allclose(found.cosines, [[1, -1], [-1, 1]], rtol=1e-12)
    # The curvature is 5/2 + 2/0.1² = 202.5, and a step of 0.001 · 97.5 moves a down.
    assert found.curvature == pytest.approx(202.5, rel=1e-12)
    fall = -97.5 * 0.0975 + 202.5 / 2 * 0.0975**2
    assert found.actual[0] == pytest.approx(fall, rel=1e-12)
    said = str(found)
    assert "dL/dp by term" in said and "Line and prior pull against each other" in said


def test_terms_that_pull_nowhere_are_left_out():
    class Diagnosed(Objective):
        def terms(self, model: Any, batch: Any) -> dict[str, Term]:
            kinds = {"task": jnp.sum(model**2), "watched": jnp.sum(model)}
            weights = {"task": 1.0, "watched": 0.0}
            return {n: Term(v, weights[n], "1") for n, v in kinds.items()}

    found = ro.explain(Diagnosed(), jnp.array([1.0, 2.0]), None)
    assert [term.name for term in found.terms] == ["task"]
    np.testing.assert_allclose(found.gradient, [2, 4], rtol=1e-14)


def axes_of(panel):
    assert not isinstance(panel, str)
    return panel.axes


def test_a_step_that_was_not_taken_is_not_drawn():
    pytest.importorskip("matplotlib")
    start, slow = {"gains": jnp.array([3.0, -4.0])}, optax.sgd(0.5)
    result = ro.minimize(bowl, start, jnp.ones(1), steps=3, optimizer=slow)
    section = gradient_section(explain_descent(start, result), result.history)
    assert section is not None and isinstance(section.blocks[-1], Figure)
    norm, decrease = map(axes_of, section.blocks[-1].panels)
    places = [len(line.get_xdata()) for line in decrease.get_lines()]
    assert places == [3, 3]
    # No parameter is a logarithm.
    assert norm.get_ylabel() == "|dL/dp|" and "ln p" not in section.html()


def test_the_norm_by_logarithms_is_said_to_be_one():
    pytest.importorskip("matplotlib")
    start, slow = {"log_gains": jnp.array([2.0])}, optax.sgd(0.5)
    result = ro.minimize(
        lambda m, _: 0.5 * m["log_gains"][0] ** 2, start, None, steps=1, optimizer=slow
    )
    found = explain_descent(start, result)
    # L = (ln k)² / 2 has the slope 2 by x = ln k, and 2 / e² by k.
    assert found["start"].gradient_norm == pytest.approx(2)
    assert found["start"].gradient[0] == pytest.approx(2 / np.exp(2))
    section = gradient_section(found, result.history)
    assert section is not None and isinstance(section.blocks[-1], Figure)
    assert axes_of(section.blocks[-1].panels[0]).get_ylabel() == "|dL/dx|"
    assert "gains[0] is a number of which the model holds the log" in section.html()
    assert "ln p of a positive parameter" in section.blocks[-1].caption


def test_a_figure_of_the_first_parameters_says_so():
    pytest.importorskip("matplotlib")
    values = np.array([[0.0, 1.0], [2.0, 3.0]]).repeat(7, axis=1)
    names = tuple(f"gains[{k}]" for k in range(14))
    path = DescentPath(names, ("",) * 14, values, np.ones_like(values))
    figure = path.blocks()[-1]
    assert isinstance(figure, Figure) and len(figure.panels) == 12
    assert "the first 12 of 14" in figure.caption
    path = DescentPath(names[:12], ("",) * 12, values[:, :12], values[:, :12])
    figure = path.blocks()[-1]
    assert isinstance(figure, Figure) and "the first" not in figure.caption
