"""One run of a command: what it leaves, and what it leaves alone."""

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
import pytest
from roboopt_envs.arm import OTHER
from shown_robots import motion, scara

from roboopt import RobooptError
from roboopt._progress import say_notes
from roboopt.cli import main
from roboopt.cli._flag_names import name_flag
from roboopt.cli._flags import Output, flag, parse
from roboopt.cli._main import COMMANDS
from roboopt.cli._process import process_settings
from roboopt.cli._results import command_of, write_report
from roboopt.cli._run import run
from roboopt.cli.identify import Identify
from roboopt.cli.tune import Tune
from roboopt.report import (
    Figure,
    Notes,
    Replay,
    Section,
    Summary,
    VerbResult,
    curves,
)
from roboopt.rollouts import EnvSpec
from roboopt.view import RobotMotions, Scene


@dataclass(frozen=True, repr=False)
class Outcome(VerbResult):
    """A result with one file, and one more where it is given."""

    extra: str = ""
    fails: type[BaseException] | None = None
    stopped: bool = False
    reason: str = "steps"
    env: EnvSpec | None = None

    def summary(self):
        return Summary("A run", [], ["Improved."])

    def sections(self, *, video=True):
        if self.fails is not None:
            raise self.fails
        return []

    def write_files(self, folder):
        (folder / "controller.npz").write_text("new")
        if self.extra:
            (folder / self.extra).write_text("new")

    def save(self, folder):
        self.write_files(Path(folder))

    @property
    def interrupted(self):
        return self.stopped


@dataclass(frozen=True)
class Fake:
    """Do nothing."""

    steps: int = flag(3, "Steps.")
    seconds: float = flag(float("inf"), "Limit [s].")
    model: Path | None = flag(None, "Model.")
    angles: tuple[int, ...] = flag((), "Angles.")
    from_: str | None = flag(None, "Start.")
    output: Output = Output()
    endings: ClassVar = ("seconds",)

    def run(self):
        return run(self, "fake", lambda work, **_: VERB[0](self, work))


VERB = [lambda command, work: Outcome()]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that runs the command with a given verb."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(COMMANDS, "fake", f"{__name__}:Fake")

    def begin(line="", verb=lambda command, work: Outcome()):
        VERB[0] = verb
        return main(["fake", *line.split()])

    return begin


def left(folder):
    return {path.name for path in folder.iterdir()}


def test_a_run_leaves_its_files_and_says_where(fake, tmp_path, capsys):
    assert fake() == 0
    assert left(tmp_path / "runs") == {"fake"}
    files = {"controller.npz", "report.html", "settings.json"}
    assert left(tmp_path / "runs" / "fake") == files
    out = capsys.readouterr().out
    assert "Improved." in out and 'roboopt.load("runs/fake")' in out
    settings = json.loads((tmp_path / "runs" / "fake" / "settings.json").read_text())
    assert settings["command"] == "fake" and settings["flags"]["steps"] == 3
    assert "from" in settings["flags"]
    assert set(settings["files"]) == files
    assert fake() == 0
    assert left(tmp_path / "runs") == {"fake", "fake-2"}


def test_a_failing_run_leaves_the_earlier_one_untouched(fake, tmp_path):
    assert fake("--name mine") == 0
    folder = tmp_path / "runs" / "mine"
    (folder / "controller.npz").write_text("old")
    (folder / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def failing(command, work):
        (work / "controller.npz").write_text("half")
        raise RobooptError("`steps` must be even, got 3.")

    assert fake("--name mine --overwrite", failing) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert left(tmp_path / "runs") == {"mine"}


def test_overwriting_replaces_the_run_and_nothing_of_its_user(fake, tmp_path):
    assert fake("--name mine", lambda c, w: Outcome(extra="old.csv")) == 0
    folder = tmp_path / "runs" / "mine"
    (folder / "controller.npz").write_text("old")
    (folder / "notes.txt").write_text("mine")
    (folder / "data").mkdir()
    assert fake("--name mine --overwrite") == 0
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "data").is_dir()
    assert (folder / "controller.npz").read_text() == "new"
    assert not (folder / "old.csv").exists()
    assert left(tmp_path / "runs") == {"mine"}


def test_overwriting_takes_only_the_folders_of_runs(fake, tmp_path, capsys):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "thesis.txt").write_text("")
    assert fake("--name mine --overwrite") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert left(tmp_path / "runs" / "mine") == {"thesis.txt"}


def test_an_interrupted_report_is_written_by_the_line_that_is_printed(fake, capsys):
    known, arm = EnvSpec("CartPole-v1"), "roboopt_envs:roboopt/ArmReach-v0"
    own = EnvSpec(arm, {"robot": "my_robot.urdf"})
    for name, env, more in (("known", known, ""), ("own", own, " --allow env")):
        stopped = Outcome(fails=KeyboardInterrupt, env=env)
        assert fake(f"--name {name}", lambda *_, made=stopped: made) == 130
        line = f"To write it: roboopt report {Path('runs', name)}{more}\n"
        assert line in capsys.readouterr().out


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_result_is_kept_whatever_ends_its_report(fake, tmp_path, error):
    def verb(command, work):
        return Outcome(fails=error)

    if error is RuntimeError:
        with pytest.raises(RuntimeError):
            fake("", verb)
    else:
        assert fake("", verb) == 130
    assert left(tmp_path / "runs" / "fake") == {"controller.npz", "settings.json"}


def test_an_interrupted_result_is_kept_and_ends_the_command(fake, tmp_path):
    assert fake("", lambda c, w: Outcome(stopped=True)) == 130
    assert left(tmp_path / "runs" / "fake") == {"controller.npz", "settings.json"}


@pytest.mark.parametrize(
    "reason, said", [("steps", "To finish it"), ("interrupted", "To continue")]
)
def test_a_run_says_whether_it_has_learned_what_it_was_to(fake, capsys, reason, said):
    def verb(command, work):
        (work / "checkpoint.npz").write_text("")
        return Outcome(stopped=True, reason=reason)

    assert fake("", verb) == 130
    assert f"{said}: roboopt fake --resume runs/fake" in capsys.readouterr().out


def test_an_interrupted_verb_leaves_nothing(fake, tmp_path, capsys):
    def verb(command, work):
        raise KeyboardInterrupt

    assert fake("", verb) == 130
    assert not (tmp_path / "runs").exists()
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_never_the_mistake_of_a_user(fake, tmp_path):
    def verb(command, work):
        raise ValueError("shapes (3,) and (4,) do not match")

    with pytest.raises(ValueError, match="shapes"):
        fake("", verb)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 TiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes."),
    ],
)
def test_full_memory_is_said_in_a_line(fake, tmp_path, capsys, error):
    def verb(command, work):
        raise error

    assert fake("", verb) == 2
    (said,) = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert "memory is full" in said and str(error) in said


def test_a_run_that_was_killed_is_swept(fake, tmp_path):
    left_over = tmp_path / "runs" / "fake.partial"
    left_over.mkdir(parents=True)
    (left_over / "log.txt").write_text("half a run")
    assert fake("--name fake") == 0
    assert left(tmp_path / "runs") == {"fake"}
    assert not (tmp_path / "runs" / "fake" / "log.txt").exists()


def test_a_run_that_can_be_resumed_is_not_taken_for_another(fake, tmp_path, capsys):
    (tmp_path / "runs" / "fake.partial").mkdir(parents=True)
    (tmp_path / "runs" / "fake.partial" / "checkpoint.npz").touch()
    assert fake() == 0
    assert left(tmp_path / "runs") == {"fake.partial", "fake-2"}
    assert fake("--name fake") == 2
    assert "fake.partial" in capsys.readouterr().err
    assert fake("--name fake --overwrite") == 0
    assert left(tmp_path / "runs") == {"fake", "fake-2"}


def learns_to(file, fails=None):
    """Return a verb that leaves a checkpoint, and goes on from what it finds."""

    def verb(command, work):
        path = work / "checkpoint.npz"
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}{command.steps} {command.seconds} ")
        (work / ".checkpoint.npz.999999999").write_text("half")
        if fails is not None:
            raise fails
        return Outcome(extra=file)

    return verb


def test_a_run_goes_on_in_its_folder_with_its_settings(fake, tmp_path, capsys):
    stopped = learns_to("", KeyboardInterrupt)
    assert fake("--steps 7 --seconds 9", stopped) == 130
    assert "To continue: roboopt fake --resume runs/fake" in capsys.readouterr().err
    work = tmp_path / "runs" / "fake.partial"
    kept = {"checkpoint.npz", "settings.json", ".checkpoint.npz.999999999"}
    assert left(work) == kept and left(tmp_path / "runs") == {"fake.partial"}
    (work / ".settings.json.999999999").write_text("half")
    failing = learns_to("", RobooptError("`seconds` is over."))
    assert fake("--resume runs/fake.partial", failing) == 2
    assert left(work) == kept  # what was half written is gone, and then again there
    assert fake("--resume runs/fake --seconds 5", learns_to("")) == 0
    assert left(tmp_path / "runs") == {"fake"}
    text = (tmp_path / "runs" / "fake" / "checkpoint.npz").read_text()
    assert text == "7 9.0 7 9.0 7 5.0 "
    # A run that has ended goes on as well, and keeps its place.
    assert fake("--resume runs/fake --seconds 6", learns_to("new.csv")) == 0
    assert "new.csv" in left(tmp_path / "runs" / "fake")
    settings = json.loads((tmp_path / "runs" / "fake" / "settings.json").read_text())
    assert settings["flags"]["steps"] == 7 and settings["flags"]["seconds"] == 6
    # With nothing changed there is nothing to do.
    before = {p: p.read_bytes() for p in (tmp_path / "runs" / "fake").iterdir()}
    assert fake("--resume runs/fake", failing) == 0
    assert "is finished" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in (tmp_path / "runs" / "fake").iterdir()} == before


def test_a_run_that_fails_before_it_goes_on_is_as_before(fake, tmp_path):
    assert fake("", learns_to("")) == 0

    def failing(command, work):
        raise RobooptError("`steps` must be even, got 3.")

    assert fake("--resume runs/fake --seconds 5", failing) == 2
    assert left(tmp_path / "runs") == {"fake"}


def test_a_run_without_a_checkpoint_yet_begins_anew(fake, tmp_path):
    work = tmp_path / "runs" / "fake.partial"
    work.mkdir(parents=True)
    flags = {"command": "fake", "flags": {"steps": 8}}
    (work / "settings.json").write_text(json.dumps(flags))
    assert fake("--resume runs/fake", learns_to("")) == 0
    text = (tmp_path / "runs" / "fake" / "checkpoint.npz").read_text()
    assert text == "8 inf "


@pytest.mark.parametrize(
    "line, said",
    [
        ("--resume nowhere", "--resume .*nowhere holds no checkpoint"),
        ("--resume runs/fake --steps 4", "--steps must be left out with --resume"),
        ("--resume runs/fake --name a", "--name must be left out with --resume"),
        ("--resume runs/fake --config runs/fake", "--config must be left out"),
        ("--resume", "--resume: expected one argument"),
    ],
)
def test_what_cannot_be_resumed_is_said(fake, capsys, line, said):
    assert fake("", learns_to("")) == 0
    assert fake(line) == 2
    assert re.search(said, capsys.readouterr().err)


def test_the_settings_of_a_run_repeat_it(fake, tmp_path):
    seen = []

    def verb(command, work):
        seen.append(command)
        return Outcome()

    assert fake("--steps 7 --model a/b --angles 1 2 --seconds 0.5 --from x", verb) == 0
    config = "--config runs/fake/settings.json"
    assert fake(config, verb) == 0 and fake("--config=runs/fake --steps 9", verb) == 0
    first, again, changed = seen
    assert again == first and first.model == Path("a/b") and first.angles == (1, 2)
    assert changed == dataclasses.replace(first, steps=9)
    assert fake("", verb) == 0 and fake("--config runs/fake-4", verb) == 0
    assert seen[-1] == Fake()


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "must be a file"),
        ("{", "must be JSON"),
        ("[]", "holds no settings"),
        ('{"command": "tune", "flags": {}}', "must be of this command, got tune"),
        ('{"command": "fake", "flags": {"stps": 3}}', "unknown flags: stps"),
    ],
)
def test_settings_that_are_none_are_refused(fake, tmp_path, capsys, text, said):
    if text is not None:
        (tmp_path / "settings.json").write_text(text)
    assert fake("--config settings.json") == 2
    assert said in capsys.readouterr().err


def test_the_process_is_as_before(fake):
    import sys

    names = "jax_enable_x64", "jax_compilation_cache_dir"
    jax.config.update("jax_enable_x64", False)
    before = [getattr(jax.config, name) for name in names]
    shown, path = warnings.showwarning, list(sys.path)

    def verb(command, work):
        assert getattr(jax.config, "jax_enable_x64")  # noqa: B009
        return Outcome()

    try:
        assert fake("", verb) == 0
        assert [getattr(jax.config, name) for name in names] == before
        assert warnings.showwarning is shown and sys.path == path
    finally:
        jax.config.update("jax_enable_x64", True)


def test_modules_of_the_folder_are_hidden_unless_the_command_line_names_one(
    fake, tmp_path
):
    # In a folder of a stranger's files, one may have the name of a package.
    (tmp_path / "canary.py").write_text("raise SystemExit('imported')")

    def verb(command, work):
        assert importlib.util.find_spec("canary") is None
        return Outcome()

    assert fake("", verb) == 0


def test_only_the_argument_of_an_error_is_named_as_a_flag():
    said = name_flag("`steps` must be\n positive; `model` and `no_such` stay", Fake())
    assert said == "--steps must be positive; `model` and `no_such` stay"
    assert name_flag("x has no `model`", Fake()) == "x has no `model`"
    assert name_flag("`overwrite` is off", Fake()) == "--overwrite is off"
    assert name_flag("`steps`", None) == "`steps`"


@pytest.mark.parametrize(
    "line, said",
    [
        ("--steps abc", "--steps: must be a whole number, got 'abc'"),
        ("--seconds 1s", "--seconds: must be a number, got '1s'"),
        ("--steps", "--steps: expected one argument"),
        (
            "--stps 3",
            "must be one that --help lists, got '--stps'; did you mean --steps",
        ),
        ("stray", "got 'stray'"),
    ],
)
def test_a_wrong_word_is_said_in_one_line(fake, capsys, line, said):
    assert fake(line) == 2
    printed = capsys.readouterr().err
    assert said in printed and printed.count("\n") == 1
    assert printed.startswith("roboopt: error: ")


def test_negative_numbers_are_values():
    given = parse(Fake, "", "--seconds -1e-3 --angles -1 -2".split())
    assert (given.seconds, given.angles) == (-1e-3, (-1, -2))


def test_a_result_shows_its_summary_and_refuses_a_path_before_any_drawing(tmp_path):
    result = Outcome(fails=AssertionError)
    assert repr(result) == str(result) and "Improved." in repr(result)
    for path in (tmp_path, tmp_path / "none" / "x.html"):
        with pytest.raises(RobooptError, match="`path` must be a file in a folder"):
            result.report(path)


def test_a_warning_is_said_once(fake, capsys):
    def verb(command, work):
        for category in (UserWarning, RuntimeWarning):
            warnings.warn("the arm is heavy", category, stacklevel=1)
        return Outcome()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert fake("", verb) == 0
    said = capsys.readouterr().err
    assert said.startswith("roboopt: warning: the arm is heavy\n")
    assert said.count("heavy") == 1


def test_figures_are_written_beside_the_report(fake, tmp_path, capsys):
    class Drawn(Outcome):
        def sections(self, *, video=True):
            panels = curves({"loss": np.array([2.0, 1.0])}, {})
            return [Section("The descent", [Figure(panels)])]

    line = "--figures pdf,csv --no-video"
    assert fake(line, lambda command, work: Drawn()) == 0
    names = {f"01-the-descent-loss.{suffix}" for suffix in ("pdf", "csv")}
    assert left(tmp_path / "runs/fake/figures") == names
    # A wrong format is refused before the run.
    assert fake("--figures docx", lambda *_: pytest.fail("ran")) == 2
    assert "--figures" in capsys.readouterr().err


def test_output_that_nobody_reads_ends_quietly():
    words = [sys.executable, "-m", "roboopt", "tune", "--help"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 141 and not said


def test_an_unknown_logger_is_refused_before_anything_is_done(fake, capsys, tmp_path):
    assert fake("--log jsonl,paper") == 2
    assert "--log must be of tensorboard, jsonl, wandb, mlflow, got 'paper'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "runs").exists()


class Advising(Outcome):
    """A result that speaks of a flag and of a parameter."""

    def summary(self):
        return Summary("A run", [], ["More `seconds` lower `mass`."])

    def sections(self, *, video=True):
        return [Section("Advice", [Notes(["Fewer `seconds`, too."])])]


def test_reports_name_the_options_of_the_command(fake, tmp_path, capsys):
    assert fake(verb=lambda command, work: Advising()) == 0
    page = (tmp_path / "runs/fake/report.html").read_text("utf-8")
    flag = '<code><span class="flag">--seconds</span></code>'
    assert f"More {flag} lower <code>mass</code>." in page
    assert f"Fewer {flag}, too." in page
    assert "More `--seconds` lower `mass`." in capsys.readouterr().out
    # Python has arguments.
    Advising().report(tmp_path / "own.html")
    assert "More <code>seconds</code> lower" in (tmp_path / "own.html").read_text()


def test_captions_of_replays_name_the_options_of_the_command(tmp_path):
    motions = RobotMotions(Scene.of_urdf(scara(tmp_path)), {"after": [motion(4, 9)]}, 1)
    replay = Replay(motions, "Name the folders by `packages`.")
    result = Advising()
    result.sections = lambda *, video=True: [Section("Replay", [replay])]
    write_report(result, tmp_path / "page.html", Identify, video=False)
    assert 'folders by <code><span class="flag">--package</span></code>.' in (
        tmp_path / "page.html"
    ).read_text("utf-8")


def test_a_report_that_is_written_later_knows_the_command(tmp_path):
    for name, found in (("identify", Identify), ("nosuch", None)):
        (tmp_path / "settings.json").write_text(f'{{"command": "{name}"}}')
        assert command_of(tmp_path) is found
    assert command_of(tmp_path / "none") is None


def test_notes_name_flags_in_a_command_and_arguments_in_python(capsys):
    note = {"tool": f"origin of tool0{OTHER}"}
    with process_settings(lambda text: name_flag(text, Tune())):
        say_notes(note)
    assert capsys.readouterr().err.endswith("by --tool and --tool-offset\n")
    say_notes(note)
    assert capsys.readouterr().err.endswith("by `tool` and `tool_offset`\n")
