import json
import re
import shutil
import warnings
from importlib import import_module

import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.cli import main
from roboopt.cli._flags import all_flags, spelled
from roboopt.cli._main import COMMANDS
from roboopt.data import write_json
from roboopt.report import (
    Drawing,
    Figure,
    Summary,
    Table,
    VerbResult,
    compare,
    spread,
    write_index,
    write_report,
)
from roboopt.report._run_record import OWN

HISTORY = "history.csv"
SAME = "urdf env robot seed steps seconds episodes processes".split()
"""Flags that mean the same where commands describe them in other words."""


class Swing(VerbResult):
    """A result with metrics, and the history of a descent."""

    def __init__(self, metrics, losses=()):
        self._metrics, self._losses = metrics, losses

    def summary(self):
        return Summary("Swinging up", [], ["Improved."])

    def sections(self, *, video=True):
        return []

    def metrics(self):
        return self._metrics

    def write_files(self, folder):
        rows = [f"{k},{loss},{2 * loss},1" for k, loss in enumerate(self._losses)]
        header = "step,loss,task_cost [s],gradient_norm"
        (folder / "history.csv").write_text("\n".join([header, *rows]))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return a folder of two runs, the second with another seed and more steps."""
    monkeypatch.setattr("roboopt.report._result.save", lambda *a, **k: None)
    folder = tmp_path / "runs"
    for name, seed, count, success in (("one", 0, 3, 60.0), ("two", 1, 2000, 100.0)):
        result = Swing({"success [%]": success, "only": 1.0}, 1 / np.arange(1, count))
        result.save(folder / name)
        flags = {"seed": seed, "env": "cart-pole", "name": name}
        write_json(folder / name / "settings.json", {"command": "tune", "flags": flags})
    return folder


def test_the_tables_hold_every_metric_and_what_differs(runs):
    found = compare([runs / "one", runs / "two"])
    assert found.metrics()["success [%]"] == {"one": 60.0, "two": 100.0}
    assert found.differences() == {"--seed": ["0", "1"]}
    text = str(found)
    assert "60" in text and "100" in text and "differ in --seed" in text
    assert "cart-pole" not in text
    assert "<table" in found._repr_html_()


def settings(runs, name, command, **flags):
    """Write the settings of a run."""
    said = {"command": command, "flags": flags}
    write_json(runs / name / "settings.json", said)


def test_what_is_not_set_is_no_difference(runs):
    settings(
        runs,
        "one",
        "tune",
        task=None,
        lock=[],
        repair=False,
        steps=3,
        watch=8080,
        joint=["a"],
    )
    settings(runs, "two", "tune", steps=3, watch=None, joint=["a", "b"])
    found = compare([runs / "one", runs / "two"])
    assert found.differences() == {"--joint": ["a", "a, b"]}


def test_long_settings_keep_both_ends(runs):
    for name in ("one", "two"):
        settings(runs, name, "tune", urdf=f"/a/long/way/to/the/robots/{name}.urdf")
    (rows,) = compare([runs / "one", runs / "two"]).differences().values()
    assert [row[-8:] for row in rows] == ["one.urdf", "two.urdf"]
    assert all(row.startswith("/a/long") and len(row) == 28 for row in rows)


def test_a_flag_is_compared_between_the_commands_that_have_it(runs):
    three = Swing({"success [%]": 1.0})
    three.save(runs / "three")
    settings(runs, "one", "tune", steps=3, urdf="a", starts=8)
    settings(runs, "two", "tune", steps=3, urdf="b", starts=8, new=1)
    settings(runs, "three", "clone", steps=4, loss="l2")
    found = compare([runs / "one", runs / "two", runs / "three"])
    assert found.differences() == {
        "command": ["tune", "tune", "clone"],
        "--steps": ["3", "3", "4"],
        "--urdf": ["a", "b", "–"],
    }


def test_settings_of_one_command_are_in_a_table_of_its_runs(runs):
    for name in ("three", "four"):
        Swing({"success [%]": 1.0}).save(runs / name)
    settings(runs, "one", "tune", steps=3, seed=0, urdf="a", tool="t")
    settings(runs, "two", "tune", steps=3, seed=1, urdf="b", tool="t")
    settings(runs, "three", "clone", steps=4, seed=0, loss="l2", width=64)
    settings(runs, "four", "clone", steps=4, seed=0, loss=None, width=64)
    _, shared, *own = compare([runs]).summary().tables
    assert shared.header == ["setting", "four", "one", "three", "two"]
    assert [row[0] for row in shared.rows] == ["command", "--steps", "--seed"]
    assert [(table.header, table.rows) for table in own] == [
        (["setting of clone", "four", "three"], [["--loss", "–", "l2"]]),
        (["setting of tune", "one", "two"], [["--urdf", "a", "b"]]),
    ]


def test_what_the_runs_of_one_command_share_is_no_difference(runs):
    settings(runs, "one", "tune", steps=3, urdf=None, width=None)
    settings(runs, "two", "clone", steps=3, urdf="a", width=64)
    found = compare([runs / "one", runs / "two"]).differences()
    assert found == {"command": ["tune", "clone"], "--steps": ["3", "3"]}


def test_flags_of_one_name_and_another_meaning_have_rows_of_their_own(runs):
    Swing({"success [%]": 1.0}).save(runs / "three")
    settings(runs, "one", "tune", env="cart-pole", steps=3)
    learned = {"timesteps": 4000, "steps": 256, "clip": 0.2}
    settings(runs, "two", "reinforce", env="Tank-v0", **learned)
    settings(runs, "three", "reinforce", env="Tank-v0", **learned | {"clip": 0.1})
    found = compare([runs / "one", runs / "two", runs / "three"])
    assert found.differences() == {
        "command": ["tune", "reinforce", "reinforce"],
        "env": ["cart-pole", "Tank-v0", "Tank-v0"],
        "--steps": ["3", "–", "–"],
        "--timesteps": ["–", "4000", "4000"],
        "--clip of reinforce": ["–", "0.2", "0.1"],
    }
    # Runs of one command have its flags.
    same = compare([runs / "two", runs / "three"]).differences()
    assert same == {"--clip": ["0.2", "0.1"]}


def test_flags_that_commands_describe_differently_are_known_to_be_the_same_or_not():
    texts: dict[str, set[str]] = {}
    for command in ("identify", "tune", "clone", "reinforce"):
        module, _, name = COMMANDS[command].partition(":")
        for flag, field in all_flags(getattr(import_module(module), name)).items():
            if spelled(flag) not in OWN.get(command, ()):
                texts.setdefault(flag, set()).add(field.metadata["text"])
    assert {*SAME} == {flag for flag, said in texts.items() if len(said) > 1}


def test_a_run_without_a_record_of_settings_is_named(runs):
    (runs / "one" / "settings.json").unlink()
    said = str(compare([runs / "one", runs / "two"]))
    assert "no record of the settings of one" in said and "differ" not in said
    assert "same settings" not in said


def test_versions_that_differ_are_told_apart_from_settings(runs):
    for name, versions in (
        ("one", {"jax": "0.6", "numpy": "2.0", "ray": None}),
        ("two", {"jax": "0.7", "numpy": "2.0", "ray": "2.4", "new": "1"}),
    ):
        flags = {"seed": int(name == "two")}
        said = {"command": "tune", "flags": flags, "versions": versions}
        write_json(runs / name / "settings.json", said)
    found = compare([runs / "one", runs / "two"])
    assert found.differences() == {"--seed": ["0", "1"]}
    assert found.version_differences() == {"jax": ["0.6", "0.7"]}
    said = found.summary().sentences
    assert said == ["The runs differ in --seed.", "The versions of jax differ."]
    assert ["jax", "0.6", "0.7"] in found.summary().tables[-1].rows


def test_many_differences_are_counted(runs):
    settings(runs, "one", "tune", **{f"f{k}": 1 for k in range(20)})
    settings(runs, "two", "tune", **{f"f{k}": 2 for k in range(20)})
    said = compare([runs / "one", runs / "two"]).summary()
    assert "differ in 20 settings" in said.sentences[0]


def test_a_folder_of_runs_stands_for_its_runs(runs, monkeypatch, capsys):
    write_index(runs)
    assert [run.name for run in compare([runs]).runs] == ["one", "two"]
    starred = compare(sorted(runs.iterdir()))
    assert [run.name for run in starred.runs] == ["one", "two"]
    with pytest.raises(RobooptError, match="index.html"):
        compare([runs / "index.html"])
    monkeypatch.chdir(runs)
    assert main(["compare"]) == 2
    assert "required: RUN" in capsys.readouterr().err


def test_the_page_draws_the_curves_that_both_have(runs, tmp_path):
    (runs / "two" / "history.csv").write_text("step,loss,own\n0,1,2\n1,0.5,3\n")
    compare([runs / "one", runs / "two"]).report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("<svg") == 2 and "objective (Swinging up) of each run" in page
    assert "gradient_norm" not in page


def test_a_curve_of_one_point_is_a_dot_and_one_of_none_is_left_out(runs):
    for name, ended in (("one", "nan"), ("two", "nan")):
        text = f"step,loss,mean_return\n0,1,{ended}\n"
        (runs / name / "history.csv").write_text(text)
    (section,) = [x for x in compare([runs / "one", runs / "two"]).sections()][2:]
    (figure,) = section.blocks
    assert isinstance(figure, Figure)
    (panel,) = [x for x in figure.panels if isinstance(x, Drawing)]
    assert panel.title == "objective"
    assert [line.get_marker() for line in panel.axes.get_lines()] == ["o", "o"]


def labels(page):
    return re.findall(r'aria-label="([^"]*) of each run', page.read_text("utf-8"))


def test_the_returns_of_each_run_are_drawn_first_as_in_its_report(runs):
    noise = np.random.default_rng(0).normal(size=600)
    rows = [f"{8 * k},{k},{x:.17g},{k % 4 == 0:d}" for k, x in enumerate(noise)]
    table = "\n".join(["timestep,seconds,return,success", *rows])
    (runs / "two" / "returns.csv").write_text(table)
    found = compare([runs / "one", runs / "two"])
    (section,) = [x for x in found.sections() if x.title == "Curves"]
    (figure,) = section.blocks
    assert isinstance(figure, Figure)
    first, *others = [x for x in figure.panels if isinstance(x, Drawing)]
    assert first.title == "return" and others[0].title.startswith("objective")
    own = spread("Return", np.arange(0.0, 8 * 600, 8), noise, axis="environment step")
    drawn, expected = (x.axes.get_lines()[0].get_ydata() for x in (first, own))
    np.testing.assert_array_equal(drawn, expected)
    assert len(drawn) == 60
    # One run has successes: its panel is left out, as of other curves.
    assert "success" not in [panel.title for panel in others]
    for panel in (first, *others):
        assert panel.integer  # Steps are read one by one.


def many(runs, count):
    """Return a comparison of so many runs, in which every other has a metric."""
    for k in range(count):
        own = {"peak force [N]": float(k)} if k % 2 else {}
        long = {f"a metric with a long name {i} [% of it]": 1.0 for i in range(6)}
        Swing({"success [%]": 9.0, **long, **own}).save(runs / f"run-{k}")
        settings(runs, f"run-{k}", "tune", seed=k)
    return compare([runs / f"run-{k}" for k in range(count)])


def test_many_runs_are_rows_of_tables_that_fit(runs):
    said = many(runs, 12).summary()
    table, differ = said.tables
    assert [row[0] for row in table.rows] == [f"run-{k}" for k in range(12)]
    assert differ.header == ["run", "--seed"]
    assert max(map(len, said.text(80).splitlines())) <= 80
    parts = table.cut(60)
    assert len(parts) > 1 and {part.header[0] for part in parts} == {"run"}
    names = [name for part in parts for name in part.header[1:]]
    assert names == table.header[1:]
    # They are of about one width.
    assert max(len(p.header) for p in parts) - min(len(p.header) for p in parts) <= 1
    assert max(len(line) for line in said.text(60).splitlines()) <= 60


def test_a_row_without_values_is_left_out_of_the_part_of_a_table():
    header = ["run", *(f"metric {k} of the robot" for k in range(8))]
    rows = [["a", *["1"] * 8], ["b", *["1"] * 4, *["–"] * 4]]
    first, second = Table(header, rows).cut(50)
    assert [row[0] for row in first.rows] == ["a", "b"]
    assert [row[0] for row in second.rows] == ["a"]


def test_a_flag_that_was_not_set_is_what_became_of_it(runs):
    for name, resolved in (("one", {"steps": 40}), ("two", {"steps": "all"})):
        said = {"command": "tune", "flags": {"steps": None, "learning_rate": 0.1}}
        write_json(runs / name / "settings.json", {**said, "run": resolved})
    assert compare([runs]).differences() == {"--steps": ["40", "–"]}


def test_losses_of_different_objectives_share_no_axis(runs, tmp_path):
    page = tmp_path / "page.html"
    cloned = Swing({}, [1.0, 0.5])
    cloned.summary = lambda: Summary("Cloning", [], ["Done."])
    cloned.save(runs / "three")
    settings(runs, "three", "clone", steps=1)
    found = compare([runs / "one", runs / "two", runs / "three"])
    found.report(page)
    # A task cost of one run has none that it could be compared with.
    own = ["objective (Swinging up)", "loss (Cloning)", "task cost (Swinging up)"]
    assert labels(page) == own
    assert page.read_text("utf-8").count('data-curve="three"') == 1
    for name, weight in (("one", 0.1), ("two", 0.2)):
        settings(runs, name, "tune", work_weight=weight)
    compare([runs / "one", runs / "two"]).report(page)
    assert labels(page)[:2] == [
        f"objective (Swinging up, --work-weight {weight})" for weight in (0.1, 0.2)
    ]
    (runs / "two" / "history.csv").write_text("step,loss,mismatch\n0,1,2\n1,0.5,3\n")
    settings(runs, "two", "tune", work_weight=0.1)
    compare([runs / "one", runs / "two"]).report(page)
    own = "objective (Swinging up)", "objective (Swinging up, mismatch)"
    assert labels(page) == [*own]
    # Two algorithms are compared by the returns of one task.
    for name in ("one", "two"):
        (runs / name / "returns.csv").write_text("timestep,return\n1,2\n2,3\n")
    compare([runs / "one", runs / "two"]).report(page)
    assert "return" in labels(page)


def test_task_costs_of_different_tasks_share_no_axis(runs, tmp_path):
    page = tmp_path / "page.html"
    for name, task in (("one", "reach"), ("two", "balance")):
        done = Swing({"objective": 1.0, "task cost [s]": 2.0}, [1.0, 0.5])
        done.summary = lambda task=task: Summary(f"Tuning cart to {task}", [], [])
        shutil.rmtree(runs / name)
        done.save(runs / name)
        settings(runs, name, "tune", task=None if task == "reach" else task)
    found = compare([runs])
    found.report(page)
    objectives = [f"objective (Tuning cart to {task})" for task in ("reach", "balance")]
    assert sorted(labels(page)) == sorted(objectives)
    assert any("cannot be compared" in said for said in found.summary().sentences)
    # The task that was not set is the one of the record.
    assert found.differences() == {"--task": ["reach", "balance"]}


def test_objectives_and_tasks_are_those_of_the_record(runs, tmp_path):
    page = tmp_path / "page.html"

    def record(name, weight, *, given=None, **task):
        done = Swing({"objective": 1.0, "task cost [s]": 2.0}, [1.0, 0.5])
        done.summary = lambda: Summary("Tuning arm to reach", [], [])
        done.save(runs / name)
        said = {
            "command": "tune",
            "flags": {"work_weight": given, "tool": None},
            "environment": {"joint_names": ["a", "b"], "task": {"Reach": task}},
            "objective": {"class": "EnergyTaskCost", "work_weight": weight},
        }
        write_json(runs / name / "settings.json", said)

    def titles():
        found = compare([runs])
        found.report(page)
        said = [x for x in found.summary().sentences if "cannot be compared" in x]
        return labels(page)[:2], said

    # A weight that a flag gave is the same as that of the default.
    record("one", 0.5)
    record("two", 0.5, given=0.5)
    shared, said = titles()
    assert shared == ["objective", "task cost"] and not said
    record("two", 0.25)
    apart, (said,) = titles()
    assert apart == [
        f"objective (Tuning arm to reach, --work-weight {weight})"
        for weight in (0.5, 0.25)
    ]
    assert "weights" in said
    assert compare([runs]).differences() == {"--work-weight": ["0.5", "0.25"]}
    # Tasks whose flags are the same, of other tools; an object's address says nothing.
    for name, tip, where in (("one", 0.1, 16), ("two", 0.2, 32)):
        record(name, 0.5, chain={"tip": [0.0, tip]}, own=f"<Own at {hex(where)}>")
    apart, (said,) = titles()
    of = "objective (Tuning arm to reach, tip [0, {}])"
    assert apart == [of.format(tip) for tip in (0.1, 0.2)]
    assert "different tasks" in said
    for name, where in (("one", 16), ("two", 32)):
        record(name, 0.5, own=f"<Own at {hex(where)}>")
    assert titles() == (["objective", "task cost"], [])
    # Long lists that differ in the middle.
    for name, middle in (("one", 0.1), ("two", 0.2)):
        record(name, 0.5, path=[*[0.0] * 50, middle, *[0.0] * 50])
    assert len({*titles()[0]}) == 2 and titles()[1] == [said]


def test_an_episode_of_no_set_duration_has_that_of_the_record(runs):
    known = {"horizon": 960, "control_period": 1 / 240, "interface": "torque"}
    for name, flags in (("one", {}), ("two", {"duration": 1.0, "interface": "pos"})):
        flags = {"duration": None, "interface": None, **flags}
        said = {"command": "tune", "flags": flags, "environment": known}
        write_json(runs / name / "settings.json", said)
    own = {"--duration": ["4.0", "1.0"], "--interface": ["torque", "pos"]}
    assert compare([runs]).differences() == own


@pytest.mark.parametrize("part", ["fit", "round"])
def test_a_curve_is_broken_between_fits_and_no_phone_hides_it(runs, tmp_path, part):
    page = tmp_path / "page.html"
    rows = "0,1,1\n1,0.5,1\n2,90,2\n3,nan,2\n4,80,2\n5,0.1,3\n"
    for name in ("one", "two"):
        (runs / name / HISTORY).write_text(f"step,loss,{part}\n{rows}")
    (section,) = [s for s in compare([runs]).sections() if s.title == "Curves"]
    (figure,) = section.blocks
    assert isinstance(figure, Figure)
    (panel,) = figure.panels
    assert isinstance(panel, Drawing)
    for line in panel.axes.get_lines():
        x, y = line.get_data()
        np.testing.assert_array_equal(x, [0, 1, np.nan, 2, 4, np.nan, 5])
        np.testing.assert_array_equal(y, [1, 0.5, np.nan, 90, 80, np.nan, 0.1])
    header = ",".join(["step", *(f"term_{k}" for k in range(6))])
    for name in ("one", "two"):
        text = f"{header}\n0,1,2,3,4,5,6\n1,2,3,4,5,6,7\n"
        (runs / name / HISTORY).write_text(text)
    compare([runs]).report(page)
    assert len(labels(page)) == 6 and "<details" not in page.read_text("utf-8")


def test_of_one_run_the_page_says_that_there_is_one(runs):
    [said] = compare([runs / "one"]).summary().sentences
    assert "one run" in said


def test_a_metric_that_a_run_lacks_is_a_dash(runs):
    path = runs / "two" / "metrics.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "metrics": {"new": float("inf")}}))
    rows = compare([runs / "one", runs / "two"]).summary().tables[0].rows
    assert ["new", "–", "inf"] in rows and ["only", "1", "–"] in rows


def test_folders_of_one_name_are_told_apart(runs):
    (runs / "one" / "two").mkdir()
    for file in (runs / "two").iterdir():
        (runs / "one" / "two" / file.name).write_bytes(file.read_bytes())
    names = [r.name for r in compare([runs / "two", runs / "one" / "two"]).runs]
    assert names == ["runs/two", "one/two"]
    with pytest.raises(RobooptError, match="different folders"):
        compare([runs / "two", runs / "two"])
    named = compare({"a": runs / "two", "b": runs / "two"})
    assert [run.name for run in named.runs] == ["a", "b"]


@pytest.mark.parametrize(
    "file, text",
    [
        ("metrics.json", "{}"),
        ("metrics.json", '{"title": 1, "saved": 2, "metrics": {"a": "b"}}'),
        ("metrics.json", '{"title": 1, "saved": 2, "metrics": 3}'),
        ("metrics.json", "[1"),
        ("settings.json", "[]"),
        ("settings.json", '{"flags": 3}'),
        ("history.csv", "step,loss\n0,one\n"),
        ("history.csv", "step,loss\n0,1,2\n"),
    ],
)
def test_a_broken_file_is_named(runs, file, text, tmp_path):
    (runs / "one" / file).write_text(text)
    with pytest.raises(RobooptError, match="`runs` must be.*one"):
        compare([runs / "one", runs / "two"]).report(tmp_path / "page.html")


@pytest.mark.parametrize("file", ["settings.json", "history.csv"])
def test_a_broken_run_is_left_out_of_three(runs, file):
    Swing({"success [%]": 1.0}).save(runs / "three")
    (runs / "three" / file).write_text("step,loss\n0,one\n")
    with pytest.warns(UserWarning, match=f"three is left out: .*{file}"):
        found = compare([runs])
    assert [run.name for run in found.runs] == ["one", "two"]
    assert str(runs / "three") in found.summary().sentences[-1]


def test_a_run_without_a_history_is_said(runs):
    assert HISTORY not in " ".join(compare([runs]).summary().sentences)
    (runs / "one" / HISTORY).unlink()
    assert "There is no history.csv of one." in compare([runs]).summary().sentences


def test_what_is_no_run_is_refused(tmp_path):
    for wrong in ([], str(tmp_path)):
        with pytest.raises(RobooptError, match="`runs` must be folders of runs"):
            compare(wrong)
    with pytest.raises(RobooptError, match="has no metrics.json"):
        compare([tmp_path])


def test_the_command_prints_and_draws(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    assert main(["compare", "one", "two"]) == 0
    out = capsys.readouterr().out
    assert "success [%]" in out and "compare.html" in out
    assert max(map(len, out.splitlines())) <= 80
    assert (runs / "compare.html").is_file()
    assert main(["compare", "one", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    (runs / "went.partial").mkdir()
    with warnings.catch_warnings(action="always"):
        assert main(["compare", "one", "two", "went.partial"]) == 0
    assert re.search("left out: .*went.partial goes on", capsys.readouterr().err)
    assert main(["compare", "one", "went.partial"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["compare", "one", "--out", "one"]) == 2
    assert "--out must be a file" in capsys.readouterr().err


def test_the_index_lists_the_runs_and_leads_to_their_reports(runs):
    write_report(runs / "two" / "report.html", title="a", verdict=[], sections=[])
    (runs / "broken").mkdir()
    (runs / "broken" / "metrics.json").write_text("nothing")
    path = write_index(runs)
    assert path is not None
    page = path.read_text("utf-8")
    assert 'href="two/report.html"' in page and "one/report.html" not in page
    assert "Swinging up" in page and "success 60\N{NO-BREAK SPACE}%" in page
    assert "broken: broken" in page


def test_the_index_replaces_itself_and_nothing_else(runs):
    assert write_index(runs) == write_index(runs)
    (runs / "index.html").write_text("all runs of roboopt, my own page")
    assert write_index(runs) is None
    assert (runs / "index.html").read_text() == "all runs of roboopt, my own page"
