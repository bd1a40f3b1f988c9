import re
from html import escape
from html.parser import HTMLParser

import numpy as np

from roboopt.report import (
    Details,
    Figure,
    Notes,
    Panel,
    Section,
    Table,
    Video,
    traces,
    write_report,
)

LEGEND = {"goal": "currentColor dashed", "limit": "currentColor dotted"}
VOID = {"meta", "wbr", "br", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects text and attributes, and that what opens is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    assert not reader.open
    return reader


def test_negative_numbers_in_tables_have_minus_signs():
    cells = ["-2", "4e-16", "[-1, -.5]", "x = -3", "arm-1", "2-3", "--steps", "a -b"]
    page = Table([""] * len(cells), [cells]).html()
    for said in ("−2", "4e−16", "[−1, −.5]", "x = −3", *cells[4:]):
        assert f">{said}</td>" in page.replace("<wbr>", "")


def test_a_page_holds_every_block_and_needs_nothing_else(tmp_path):
    blocks = [
        Notes(["a note"]),
        Table(("what", "before"), [("work [J]", "1.5")], [("", 1), ("PyBullet", 1)]),
        Figure(['<svg data-key="goal"></svg>'], "a caption", LEGEND),
        Video(b"film", "a film"),
        Details("more", '{"seed": 0}'),
    ]
    path = tmp_path / "report.html"
    write_report(
        path, title="A run", verdict=["Improved."], sections=[Section("All", blocks)]
    )
    page = read(path)
    for text in ("A run", "Improved.", "a note", "work [J]", "1.5", "PyBullet"):
        assert text in page.text
    for text in ("a caption", "goal", "a film", "more", '{"seed": 0}'):
        assert text in page.text
    assert "limit" not in page.text  # which no panel shows
    assert {"table", "svg", "video", "details", "h1", "h2"} <= set(page.tags)
    assert 'aria-label="Video. a film"' in path.read_text("utf-8")
    assert page.sources == ["data:video/mp4;base64,ZmlsbQ=="]
    text = path.read_text("utf-8")
    assert "http" not in text and "@import" not in text and "url(" not in text


def test_the_verdict_ends_no_line_between_a_number_and_its_unit(tmp_path):
    said = "It succeeds in 70 % (95 % interval) within 2 s, 4e-16 m apart."
    write_report(tmp_path / "page.html", title="A", verdict=[said], sections=[])
    page = (tmp_path / "page.html").read_text("utf-8")
    assert (
        said.replace(" %", "\xa0%")
        .replace("2 s", "2\xa0s")
        .replace("-16 m", "−16\xa0m")
        in page
    )


def test_a_page_of_many_panels_draws_each_letter_once(tmp_path):
    time = np.linspace(0, 3, 180)
    phases = np.arange(10)[:, None]
    panels = [
        Panel(f"joint {k}: torque", "N·m", {"before": np.sin((k + 9) * time + phases)})
        for k in range(20)
    ]
    drawn = traces(panels, time[1])
    section = Section("Motions", [Figure(drawn)])
    write_report(tmp_path / "a.html", title="A", verdict=[], sections=[section])
    page = (tmp_path / "a.html").read_text("utf-8")
    letters = re.findall(r'<path id="\S+" (d="[^"]*" transform="scale[^>]*)/>', page)
    assert len(letters) > 20 and len({*letters}) == len(letters)
    known = {*re.findall(r' id="([^"]+)"', page)}
    used = re.findall(r'href="#([^"]+)"', page)
    assert {*used} <= known
    # The same letters are drawn as in the panels by themselves.
    alone = [re.sub(r"\bf[0-9a-f]{8}-", "", panel.svg) for panel in drawn]
    assert [re.sub("^f[0-9a-f]{8}-", "", name) for name in used] == [
        name for svg in alone for name in re.findall(r'href="#([^"]+)"', svg)
    ]
    own = sum(len(panel.svg) for panel in drawn)
    assert own - len(page) > 20 * 6_000  # most of the bytes of a panel's letters


def test_text_is_escaped_everywhere(tmp_path):
    evil = "<script>alert('&')</script>"
    blocks = [
        Notes([evil]),
        Table((evil,), [(evil,)], [(evil, 1)]),
        Figure([f'<i data-key="{escape(evil)}"></i>'], evil, {evil: "#000000"}),
        Video(b"", evil),
        Details(evil, evil),
    ]
    path = tmp_path / "report.html"
    write_report(path, title=evil, verdict=[evil], sections=[Section(evil, blocks)])
    page = read(path)
    assert "script" not in page.tags
    assert page.text.count(evil) == 13
