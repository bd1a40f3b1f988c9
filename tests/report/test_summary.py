"""Summaries as text: within the width, and no number cut short."""

import re

import pytest

from roboopt.report import Section, Summary, Table, write_report

HEADER = ("parameter", "unit", "start", "estimate", "95 % interval", "true", "verdict")
ROWS = [
    (
        "mass[lbr_iiwa_link_3]",
        "kg",
        "2.7000",
        "3.14159",
        "3.1415 … 3.1417",
        "3.14159265",
        "known only in combination with com.x[lbr_iiwa_link_4]",
    ),
    ("damping[elbow]", "N·m·s/rad", "0", "−0.1234", "−0.2 … 0", "–", "identified"),
]
TABLE = Table(HEADER, ROWS, text=(0, 6), optional=(5, 2))
GROUPED = Table(
    ("", "before", "after", "change", "before", "after"),
    [
        ("task cost [s]", "1.2345", "0.7264", "−41.2 %", "1.2345", "0.7264"),
        ("success [of 100 starts]", "69", "100", "+31", "69", "100"),
    ],
    groups=(("", 1), ("PyBullet", 3), ("twin", 2)),
)
NUMBER = re.compile(r"[−\d][\d.]*")


def numbers(text):
    return NUMBER.findall(text)


@pytest.mark.parametrize("width", [40, 60, 80, 110])
def test_a_table_fits_and_cuts_no_number(width):
    text = Summary("A title", [TABLE], ["A sentence of several words."]).text(width)
    words = {word for row in (HEADER, *ROWS) for cell in row for word in cell.split()}
    longest = max(map(len, words))
    assert max(map(len, text.splitlines())) <= max(width, longest)
    assert "…" not in text.replace(" … ", "")
    kept = set(text.split())
    for row in ROWS:
        for column in (0, 3, 4, 6):  # the others may be left out
            words = row[column].split()
            if column in (0, 6):  # A name is cut behind a dot or before a bracket.
                words = [p for w in words for p in re.split(r"(?<=[._])|(?=\[)", w)]
                assert all(word in text for word in words), row[column]
                continue
            assert set(words) <= kept, row[column]


@pytest.mark.parametrize("width", [80, 110])
def test_columns_stand_under_their_groups(width):
    lines = Summary("", [GROUPED], []).text(width).splitlines()
    groups, header, rule, *rows = (line for line in lines if line)
    assert numbers(rows[0]) == ["1.2345", "0.7264", "−41.2", "1.2345", "0.7264"]
    assert set(rule) == {"─"} and len(rule) >= max(map(len, rows))
    first = header.index("before") + len("before")
    assert groups.index("PyBullet") + len("PyBullet") <= first + len("PyBullet")
    second = header.rindex("before")
    assert groups.index("twin") >= header.index("change")
    assert groups.index("twin") + len("twin") <= second + len("before")
    # Numbers are flush right under their heading.
    assert {row.rstrip()[-1] for row in rows} <= set("0123456789")
    assert len({len(row) for row in rows}) == 1


def test_a_row_is_stacked_where_nothing_else_fits():
    text = Summary("", [GROUPED], []).text(30)
    assert max(map(len, text.splitlines())) <= 30
    assert "  change: −41.2 %" in text.splitlines()


def test_columns_are_dropped_by_priority():
    table = Table(("name", "a", "b"), [("x", "1" * 10, "2" * 10)], optional=(2, 1))
    assert numbers(Summary("", [table], []).text(28))[-1] == "2" * 10
    assert numbers(Summary("", [table], []).text(16)) == ["1" * 10]


def test_a_long_heading_ends_with_its_columns():
    rows = [("a long name of a row", "1", "2")]
    groups = (("", 1), ("a heading", 2))
    lines = Summary("", [Table(("name", "a", "b"), rows, groups=groups)], []).text()
    assert max(map(len, lines.splitlines())) == len("a long name of a row  1  2")
    assert "a heading" in lines


def test_columns_that_are_dropped_are_named():
    table = Table(("name", "one", "two"), [("x", "1" * 10, "2" * 10)], optional=(2,))
    assert "not shown" not in Summary("", [table], []).text(28)
    assert "(not shown: two)" in Summary("", [table], []).text(20)


def test_a_wide_table_of_numbers_goes_on_below():
    header = ["time", *(f"gain {k}" for k in range(9))]
    rows = [[str(t), *(f"{t + k}.{k:04d}" for k in range(9))] for t in range(3)]
    text = Summary("", [Table(header, rows)], []).text(40)
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("time") == 3
    for head, *cells in zip(header, *rows, strict=True):
        assert text.count(head) >= 1 and all(cell in text for cell in cells)


def test_a_phone_shows_a_wide_table_cell_by_cell_with_its_headings(tmp_path):
    page = GROUPED.html()
    assert 'class="stacked"' in page
    assert page.count('data-label="PyBullet after"') == len(GROUPED.rows)
    narrow = Table(("a", "b"), [("x", "1")]).html()
    assert "stacked" not in narrow and "data-label" not in narrow
    # One of many rows is folded there, in pages alone.
    many = Table(GROUPED.header, list(GROUPED.rows) * 9, GROUPED.groups)
    assert "stacked" in many.html() and "<details" not in many.html()
    title = f"<summary>{len(many.rows)} rows</summary>"
    assert f'<details class="phone">{title}' in Section("All", [many]).html()
    assert "<details" not in Section("All", [GROUPED]).html()
    # A page shows the table that it begins with.
    write_report(
        tmp_path / "page.html",
        title="A",
        verdict=[],
        sections=[Section("Main", [many]), Section("All", [many])],
    )
    page = (tmp_path / "page.html").read_text("utf-8")
    main, _, others = page.partition('<section id="all">')
    assert "<details" not in main and others.count("<details") == 1


CJK = "肩の関節"
NFD = "e\N{COMBINING ACUTE ACCENT}paule"


def seen(line):
    """Return the columns of a line, as a terminal counts them, letter by letter."""
    return [2 if one in CJK else 0 if one == NFD[1] else 1 for one in line]


@pytest.mark.parametrize("name", [CJK, NFD, f"kp[{CJK}]", "плечо"])
def test_numbers_stand_under_each_other_beside_letters_of_any_width(name):
    rows = [[name, "1.5", "raises it"], ["elbow", "20", "lowers it"]]
    table = Table(["gain", "value", "does"], rows, text=(0, 2))
    text = Summary("", [table], []).text(60)
    *_, rule, first, second = text.strip().splitlines()
    start = sum(seen(first[: first.index("1.5")])) + len("1.5")
    assert start == second.index("20") + len("20")
    assert len(rule) == max(sum(seen(first)), len(second))


def test_wide_letters_are_wrapped_by_their_columns():
    said = " ".join([CJK, NFD, "elbow"] * 9)
    lines = Summary("", [], [said]).text(40).strip().splitlines()
    assert " ".join(lines) == said
    widths = [sum(seen(line)) for line in lines]
    assert max(widths) <= 40 and min(widths[:-1]) > 40 - 9


def test_backticks_are_set_as_code():
    page = Summary("A run", [], ["Call `roboopt explain <run>`."]).html()
    assert "<code>roboopt explain &lt;run&gt;</code>" in page


def test_sentences_are_wrapped_between_words():
    said = "The controller succeeds from every one of the random starts in PyBullet."
    lines = Summary("A run", [], [said]).text(40).splitlines()
    assert lines[0] == "A run" and max(map(len, lines)) <= 40
    assert " ".join(lines[1:]).split() == said.split()


def test_a_notebook_shows_the_same():
    page = Summary("A <run>", [GROUPED], ["a & b"]).html()
    assert "<h3>A &lt;run&gt;</h3>" in page and "a &amp; b" in page
    assert "−41.2\N{NO-BREAK SPACE}%" in page and "PyBullet" in page


def test_no_line_ends_between_a_number_and_its_unit():
    for width in range(20, 40):
        text = Summary("", [], ["It fell by +114.7 % and took 3.5 s, 7 kg of 12 %."])
        lines = text.text(width).splitlines()
        assert not any(re.search(r"\d$", line) for line in lines)
