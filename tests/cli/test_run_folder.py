import subprocess
import sys
from pathlib import Path

import pytest

from roboopt import RobooptError
from roboopt.cli import main
from roboopt.cli._run_folder import SETTINGS, RunFolder


def claim(runs, name=None, default="a", overwrite=False):
    return RunFolder.claim(runs, name, default, overwrite=overwrite)


def test_default_names_are_numbered_where_they_are_taken(tmp_path):
    names = [claim(tmp_path).path.name for _ in range(3)]
    assert names == ["a", "a-2", "a-3"]


def test_a_run_is_overwritten_on_request_only(tmp_path):
    claimed = claim(tmp_path, "mine")
    (claimed.work / SETTINGS).write_text("{}")
    claimed.publish()
    with pytest.raises(RobooptError, match="exists already"):
        claim(tmp_path, "mine")
    assert claim(tmp_path, "mine", overwrite=True).path == claimed.path
    assert (claimed.path / SETTINGS).exists()


def test_without_a_name_overwriting_takes_the_default(tmp_path):
    claimed = claim(tmp_path)
    (claimed.work / SETTINGS).write_text("{}")
    claimed.publish()
    assert claim(tmp_path, overwrite=True).path == claimed.path


def test_the_folder_of_another_run_is_its_own_until_its_process_ends(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from roboopt.cli._run_folder import RunFolder\n"
        "RunFolder.claim(Path(sys.argv[1]), 'a', 'a', overwrite=False)\n"
        "print('claimed', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(RobooptError, match="a.partial belongs to a run"):
            claim(tmp_path, "a")
        assert claim(tmp_path).path.name == "a-2"
        process.kill()
    assert claim(tmp_path, "a").path.name == "a"


def test_folders_above_are_made(tmp_path):
    assert claim(tmp_path / "x" / "y", "a").work.is_dir()


def test_a_failing_run_removes_the_folders_that_it_made(tmp_path):
    runs = tmp_path / "new" / "runs"
    first = RunFolder.claim(runs, None, "a", overwrite=False)
    other = RunFolder.claim(runs, None, "b", overwrite=False)
    assert not first.discard() and runs.is_dir()
    assert not other.discard() and runs.is_dir()  # made by the first
    runs.rmdir()
    assert not RunFolder.claim(runs, None, "a", overwrite=False).discard()
    assert not runs.exists() and (tmp_path / "new").is_dir()
    (tmp_path / "new").rmdir()
    assert not RunFolder.claim(runs, None, "a", overwrite=False).discard()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/a"])
def test_a_name_is_a_name(tmp_path, name):
    with pytest.raises(RobooptError, match="`name` must be the name of a folder"):
        claim(tmp_path, name)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(RobooptError, match="is not a folder"):
        claim(tmp_path, "a", overwrite=True)
    with pytest.raises(RobooptError, match="cannot write to"):
        claim(Path(tmp_path / "a"), "c")


def test_only_names_inside_the_folder_are_removed(tmp_path):
    outside = tmp_path / "precious.txt"
    outside.write_text("")
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / SETTINGS).write_text('{"files": ["../../precious.txt", "..", "old"]}')
    (folder / "old").write_text("")
    claimed = claim(tmp_path / "runs", overwrite=True)
    (claimed.work / SETTINGS).write_text("{}")
    claimed.publish()
    assert outside.exists() and not (folder / "old").exists()


def test_a_run_that_was_killed_stays_where_it_cannot_be_resumed(tmp_path):
    settings = tmp_path / "a.partial" / SETTINGS
    settings.parent.mkdir()
    settings.write_text("{}")
    assert RunFolder.resume(tmp_path / "a").discard()
    assert settings.exists()


@pytest.mark.parametrize("command", ["view", "explain", "report", "compare"])
@pytest.mark.parametrize("name", ["killed", "killed.partial"])
def test_a_killed_run_is_named_as_such(command, name, tmp_path, capsys):
    (tmp_path / "killed.partial").mkdir()
    assert main([command, str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert "over" in said and f"--resume {tmp_path / 'killed'} continues it" in said
