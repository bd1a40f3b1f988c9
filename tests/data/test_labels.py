"""Columns that label rows: with a robot, a run, or any text."""

import warnings

import numpy as np
import pytest
from told import read_told

from roboopt.data import load_episodes, load_recordings

COUNT = 80
TIMES = 0.01 * np.arange(COUNT)
NAMES = "t,q_a,q_b,dq_a,dq_b,tau_a,tau_b"
ROWS = np.stack([TIMES, *(np.sin((k + 1) * TIMES) for k in range(6))], 1)
JOINTS = ["a", "b"]
FIRST = np.arange(COUNT) < COUNT // 2


def written(tmp_path, **labels):
    path = tmp_path / "x.csv"
    cells = [[f"{x:.9g}" for x in row] for row in ROWS]
    rows = zip(cells, *labels.values(), strict=True)
    lines = [",".join([*row, *map(str, texts)]) for row, *texts in rows]
    path.write_text("\n".join([",".join([NAMES, *labels]), *lines]) + "\n")
    return path


def as_frame(path):
    return pytest.importorskip("pandas").read_csv(path)


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("name", ["robot", "Robot ID", "arm", "device_name"])
@pytest.mark.parametrize("first", [FIRST, np.arange(COUNT) % 2 == 0])
def test_rows_of_two_robots_are_refused(tmp_path, name, first, frame):
    path = written(tmp_path, **{name: np.where(first, "left", "right")})
    with pytest.raises(ValueError, match=f"{name}.*left, right"):
        load_recordings(as_frame(path) if frame else path, joints=JOINTS)


def test_robots_may_be_numbered(tmp_path):
    path = written(tmp_path, robot_id=np.where(FIRST, 1, 2))
    with pytest.raises(ValueError, match="robot_id.*1, 2"):
        load_recordings(path, joints=JOINTS)


def test_two_robots_of_a_long_table_are_refused(tmp_path):
    rows = [
        f"{t:.2f},{robot},{joint},{np.sin(t + k)},0.1"
        for t in TIMES
        for robot in "LR"
        for k, joint in enumerate(JOINTS)
    ]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["t,robot,joint,position,effort", *rows]))
    with pytest.raises(ValueError, match="robot.*L, R"):
        load_recordings(path, joints=JOINTS)


@pytest.mark.parametrize(
    "labels",
    [
        {"robot": ["ur5"] * COUNT},
        {"arm": np.where(FIRST, 0, 1)},  # of a drone whose motors are armed
        {"device": np.linspace(0.1, 0.9, COUNT).round(1)},  # measures something
    ],
)
def test_other_columns_of_such_names_are_ignored(tmp_path, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (run,) = load_recordings(written(tmp_path, **labels), joints=JOINTS)
    assert run.steps == COUNT - 1


@pytest.mark.parametrize("name", ["take", "Segment", "trial_no", "run_name", "Versuch"])
def test_runs_by_customary_names_are_recordings(tmp_path, name):
    path = written(tmp_path, **{name: np.where(FIRST, "x", "y")})
    runs = load_recordings(path, joints=JOINTS)
    assert [run.steps for run in runs] == [FIRST.sum() - 1, COUNT - FIRST.sum() - 1]


def test_takes_and_segments_tell_recordings_together(tmp_path):
    segment = np.arange(COUNT) // 20 % 2
    path = written(tmp_path, take=np.where(FIRST, 0, 1), segment=segment)
    assert len(load_recordings(path, joints=JOINTS)) == 4


def test_segments_within_an_episode_are_no_episodes(tmp_path):
    rows = ["episode,segment,obs_0,action_0"]
    rows += [f"{k // 10},{k // 5 % 2},{k}.5,{k}.25" for k in range(20)]
    path = tmp_path / "demos.csv"
    path.write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="segment"):
        episodes = load_episodes(path, time_step=0.1)
    assert [one.steps for one in episodes] == [9, 9]


def test_unread_texts_that_change_are_named(tmp_path):
    mode = np.where(FIRST, "hold", "move")
    path = written(
        tmp_path, mode=mode, unit=["deg"] * COUNT, load=np.where(FIRST, 1, 2)
    )
    (_,), said = read_told(path, joints=JOINTS)
    assert "mode" in said and "unit" not in said and "load" not in said
