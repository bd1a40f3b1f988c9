"""Values show themselves in notebooks: tables that are legible in light and dark."""

import jax.numpy as jnp
import numpy as np
import pytest
from browser import chromium, needs_chromium

import roboopt as ro
from roboopt.policies import LinearFeedback
from roboopt.report import Summary, Table
from roboopt.rollouts import Evaluation

RUNS = ro.Trajectory(
    np.zeros((3, 6, 4)), np.zeros((3, 5, 1)), 0.02, rewards=np.ones((3, 5))
)


SHOWN = {
    "a summary": Summary(
        "Tuning <b>", [Table(("", "x"), [["a", "1"]])], ["`K` & more"]
    ),
    "a trajectory": RUNS,
    "an evaluation": Evaluation.of(RUNS, 4.0),
    "a controller": LinearFeedback(jnp.array([[1.0, 2.0, 3.0, 4.0]])),
    "a descent": ro.minimize(lambda x, _: x**2, jnp.array(1.0), None, steps=2),
}


def shown(value):
    return value.html() if isinstance(value, Summary) else value._repr_html_()


@pytest.mark.parametrize("name", SHOWN)
def test_values_are_tables(name):
    text = shown(SHOWN[name])
    assert text.startswith('<div class="roboopt">') and "<table" in text
    assert "<script>" not in text and "http" not in text


def test_tables_say_sizes_units_and_estimates():
    assert "3 × 6 × 4" in shown(RUNS) and "0.02 s" in shown(RUNS)
    found = shown(SHOWN["an evaluation"])
    assert "100.0 %" in found and "5 (" in found
    assert str(SHOWN["an evaluation"]).startswith("3 episodes: success 100.0 %")


@pytest.mark.parametrize("tool", [ro.explain, ro.chain, ro.check_gradient])
def test_diagnoses_show_what_they_print(tool):
    found = tool(lambda x, _: jnp.sum(x**2), jnp.array([1.0, 2.0]), None)
    assert repr(found) == str(found)


@needs_chromium
def test_tables_are_legible_on_dark_and_change_nothing_else():
    page = "<table id=other><tr><td>other</table>" + "".join(map(shown, SHOWN.values()))
    dark = f"<body style='background:#111;color:#eee'>{page}"
    with chromium() as browser:
        view = browser.new_page(viewport={"width": 390, "height": 800})
        view.set_content(dark)
        style = "node => getComputedStyle(node)."
        for cell in view.locator(".roboopt td").all():
            assert cell.evaluate(f"{style}color") == "rgb(238, 238, 238)"
            assert cell.evaluate(f"{style}backgroundColor") == "rgba(0, 0, 0, 0)"
        assert view.locator("#other td").evaluate(f"{style}borderBottomWidth") == "0px"
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
