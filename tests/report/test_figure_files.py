"""Panels as files: pictures, and tables of their curves."""

import csv

import numpy as np
import pytest
from PIL import Image

from roboopt import RobooptError
from roboopt.report import (
    Figure,
    Notes,
    Panel,
    Reported,
    Section,
    Summary,
    bars,
    curves,
    panel,
    spread,
    traces,
    write_csv,
)
from roboopt.report._fonts import families

RUNS = {
    "before": np.array([[0.5, 1.0, 2.0], [0.0, 1.0, 0.0]]),
    "after": np.array([[0.5, 0.25, np.nan], [0.0, 1.0, 0.0]]),
}


NAMES = "test start 7", "test start 0"


class Result(Reported):
    def summary(self):
        return Summary("A run", [], ["Improved."])

    def sections(self, *, video=True):
        assert not video
        motion = Panel("cart: position", "m", RUNS, goals=[0.0])
        motions = traces([motion], 0.1, NAMES)
        energy = {"before": np.array([1.0, 2.0]), "after": np.array([0.5, 0.25])}
        joules = bars("Joule loss", "J", energy, ["arm_1", "arm_2"])
        descent = curves({"loss": np.array([2.0, 1.0])}, {})
        return [
            Section("Motions", [Notes(["Text."]), Figure(motions)]),
            Section("Energy", [Figure([joules]), Figure(descent, name="at the end")]),
        ]


def rows(path):
    return list(csv.reader(path.read_text("utf-8").splitlines()))


def test_every_panel_is_a_file_of_each_format(tmp_path):
    paths = Result().save_figures(tmp_path / "figures", "pdf", "svg", "png", "csv")
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in paths[::4]] == [
        *("01-motions-cart-position.pdf", "02-energy-joule-loss.pdf"),
        "03-energy-at-the-end-loss.pdf",
    ]
    starts = {".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}
    for path in paths:
        if path.suffix in starts:
            assert path.read_bytes().startswith(starts[path.suffix])
    # Pictures with several keys have the legend, which a page has beside them.
    legends = [
        b"legend" in path.read_bytes() for path in paths if path.suffix == ".svg"
    ]
    assert legends == [True, True, False]
    # The legend is below the panel, where it covers no curve.
    heights = []
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                heights.append(picture.height)
    motions, energy, descent = heights
    assert min(motions, energy) > descent + 20


def test_the_legend_of_a_spread_has_one_legible_key_for_its_band(tmp_path):
    values = np.random.default_rng(0).normal(size=200)
    drawn = spread("Return", np.arange(200.0), values, axis="step")
    legend = drawn._legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["10 % to 90 % of the values", "median"]
    band, median = legend.legend_handles
    assert band.get_window_extent().height > 3 and band.get_facecolor()[3] > 0.2
    assert median.get_alpha() is None and median.get_linewidth() > 1
    drawn.save(tmp_path / "drawn.csv")
    header, *_ = rows(tmp_path / "drawn.csv")
    sides = [f"{side}% of the values below" for side in (10, 90)]
    assert header == ["step", "median", *sides]


def test_long_names_keep_the_quantity(tmp_path):
    class Long(Result):
        def sections(self, *, video=True):
            quantities = ("velocity", "torque")
            names = [f"{'a long name ' * 9}: {quantity}" for quantity in quantities]
            panels = [Panel(name, "m", RUNS, goals=[]) for name in names]
            return [Section("Motions", [Figure(traces(panels, 0.1))])]

    names = [path.stem for path in Long().save_figures(tmp_path, "csv")]
    assert [name.rpartition("-")[2] for name in names] == ["velocity", "torque"]
    assert all(len(name) < 70 and name.startswith("0") for name in names)


@pytest.mark.parametrize(
    "title, name",
    [
        (
            "Predicted ΔL, θ̇ of Gelenk größe²",
            "predicted-delta-l-theta-of-gelenk-grosse2",
        ),
        ("локоть: position", "локоть-position"),
        ("左/肘_ガイド: position", "左-肘_ガイド-position"),
        ("../arm.1: effort [N·m]", "arm-1-effort-n-m"),
    ],
)
def test_names_of_files_are_words_of_letters(tmp_path, title, name):
    class Named(Result):
        def sections(self, *, video=True):
            panels = [Panel(title, "m", RUNS)]
            return [Section("Über 1 %", [Figure(traces(panels, 0.1))])]

    [path] = Named().save_figures(tmp_path, "csv")
    assert path.parent == tmp_path and path.name == f"01-uber-1-{name}.csv"


def test_tables_have_the_curves_with_labels_and_units(tmp_path):
    motion, energy, loss = map(rows, Result().save_figures(tmp_path, "csv"))
    # In the order of the motions, the bold one first.
    drawn = [f"{key}, {name} [m]" for key in RUNS for name in NAMES]
    assert motion[0] == ["time [s]", *drawn]
    assert motion[2] == ["0.1", "1.0", "1.0", "0.25", "1.0"]
    assert motion[3] == ["0.2", "2.0", "0.0", "nan", "0.0"] and len(motion) == 4
    assert energy == [["joint", "before [J]", "after [J]"], ["arm_1", "1.0", "0.5"]] + [
        ["arm_2", "2.0", "0.25"]
    ]
    assert loss == [["gradient step", "loss"], ["0.0", "2.0"], ["1.0", "1.0"]]


def test_columns_of_a_file_have_names_of_their_own(tmp_path):
    with panel("Error", "gradient step", "[1]", label="both") as made:
        made.axes.plot([0, 1, 2], [3.0, 2.0, 1.0], label="training")
        made.axes.plot([0, 2], [4.0, 2.0], label="validation")
    made.save(tmp_path / "error.csv")
    assert rows(tmp_path / "error.csv")[0] == [
        *("gradient step", "training"),
        *("gradient step of validation", "validation"),
    ]
    write_csv(tmp_path / "own.csv", ["a", "a (2)", "a", "b"], [])
    assert rows(tmp_path / "own.csv") == [["a", "a (2)", "a (3)", "b"]]


def test_the_page_is_the_same_after_files_were_written(tmp_path):
    [drawn] = traces([Panel("a", "m", RUNS)], 0.1)
    page = drawn.svg
    drawn.save(tmp_path / "a.csv")
    [again] = traces([Panel("a", "m", RUNS)], 0.1)
    again.save(tmp_path / "a.pdf")
    assert again.svg == page


def test_pdf_by_default_and_other_formats_are_refused(tmp_path):
    assert {p.suffix for p in Result().save_figures(tmp_path)} == {".pdf"}
    with pytest.raises(RobooptError, match="`formats`.*'docx'"):
        Result().save_figures(tmp_path, "docx")
    (tmp_path / "file").touch()
    with pytest.raises(RobooptError, match="`folder`"):
        Result().save_figures(tmp_path / "file")


class Bars(Reported):
    """A figure with names of joints."""

    def __init__(self, title, joints):
        self.section = Section(
            "機", [Figure([bars(title, "J", joules(joints), joints)])]
        )

    def summary(self):
        return Summary("A run", [], ["Done."])

    def sections(self, *, video=True):
        return [self.section]


def joules(joints):
    return {"before": np.ones(len(joints)), "after": np.ones(len(joints))}


@pytest.fixture
def own_fonts(monkeypatch):
    """Leave the fonts of Matplotlib alone, as on a machine without others."""
    from matplotlib.font_manager import fontManager

    own = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", own)
    families.cache_clear()
    yield
    families.cache_clear()


@pytest.mark.usefixtures("own_fonts")
def test_letters_that_no_font_has_are_text_in_pages_and_numbers_in_files(tmp_path):
    joints = ["Hüfte", "関節", "поворот"]
    result = Bars("関節", joints)
    page = result.section.html()
    for joint in joints:
        assert f">{joint}</text>" in page  # drawn by the browser's fonts
    with pytest.warns(UserWarning, match="no font of this machine has 節関") as warned:
        result.save_figures(tmp_path, "svg", "png", "csv")
    assert len(warned) == 1
    (picture,) = tmp_path.glob("01-機-関節.svg")
    shown = picture.read_text("utf-8")  # texts stand in comments beside their paths
    assert shown.count(r"\u95a2\u7bc0") == 2 and "Hüfte" in shown
    assert "関節" in picture.with_suffix(".csv").read_text("utf-8")
    assert result.section.html() == page


@pytest.mark.usefixtures("own_fonts")
def test_letters_of_other_fonts_of_the_machine_are_drawn(tmp_path, recwarn):
    # This letter is in STIXGeneral, which comes with Matplotlib, not in DejaVu Sans.
    result = Bars("\N{CIRCLED LATIN CAPITAL LETTER A}", ["b"])
    assert "<text" not in result.section.html()
    result.save_figures(tmp_path, "pdf")
    assert not recwarn.list
