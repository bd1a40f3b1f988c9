from pathlib import Path

import pytest

from roboopt.cli._run_folder import SETTINGS, claim, clear
from roboopt.cli._usage import UsageError


def test_default_names_are_numbered_where_they_are_taken(tmp_path):
    names = [claim(tmp_path, None, "a", overwrite=False).name for _ in range(3)]
    assert names == ["a", "a-2", "a-3"]
    assert all((tmp_path / name).is_dir() for name in names)


def test_a_run_is_overwritten_on_request_only(tmp_path):
    folder = claim(tmp_path, "mine", "a", overwrite=False)
    (folder / SETTINGS).write_text("{}")
    with pytest.raises(UsageError, match="exists already"):
        claim(tmp_path, "mine", "a", overwrite=False)
    assert claim(tmp_path, "mine", "a", overwrite=True) == folder
    assert (folder / SETTINGS).exists()  # until there is something to replace it
    clear(folder)
    assert not list(folder.iterdir())


def test_without_a_name_overwriting_takes_the_default(tmp_path):
    folder = claim(tmp_path, None, "a", overwrite=False)
    assert claim(tmp_path, None, "a", overwrite=True) == folder


def test_folders_above_are_made(tmp_path):
    assert claim(tmp_path / "x" / "y", "a", "b", overwrite=False).is_dir()


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/a"])
def test_a_name_is_a_name(tmp_path, name):
    with pytest.raises(UsageError, match="--name must be the name of a folder"):
        claim(tmp_path, name, "b", overwrite=False)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        claim(tmp_path, "a", "b", overwrite=True)
    with pytest.raises(UsageError, match="cannot write to"):
        claim(Path(tmp_path / "a"), "c", "b", overwrite=False)
