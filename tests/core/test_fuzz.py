"""Damaged files of every kind are refused by a `RobooptError`, within a second.

Where the container has a checksum, none is read as something else than was written.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzzing.py")
KINDS = (
    *("policy", "result", "checkpoint", "settings", "demonstrations.npz"),
    *("demonstrations.hdf5", "demonstrations folder", "minari", "recordings.csv"),
    *("recordings.csv.gz", "urdf", "side file", "xacro", "mjcf", "stl", "obj", "dae"),
    *(
        "bag of ROS 1",
        "bag of ROS 2",
        "mcap",
        "parquet",
        "zarr",
        "mat",
        "mtl",
        "texture",
    ),
)


def fuzz(folder, count, seed, kinds):
    """Return what came of each kind, in a process that may die of a file."""
    pytest.importorskip("h5py")
    pytest.importorskip("minari")
    pytest.importorskip("mujoco")
    pytest.importorskip("xacrodoc")
    pytest.importorskip("rosbags")
    pytest.importorskip("pyarrow")
    pytest.importorskip("zarr")
    command = [sys.executable, str(SCRIPT), str(folder), str(count), str(seed), *kinds]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found = [json.loads(line) for line in lines]
    if done.returncode:
        dead = kinds[len(found)]
        number = (folder / "now").read_text()
        pytest.fail(f"{dead} {number} ended the process: {done.stderr[-2000:]}")
    return found


def check(found, count):
    for kind in found:
        assert not kind["bad"], "\n".join([kind["kind"], *kind["bad"]])
        assert kind["refused"] + kind["same"] + kind["other"] == count


def test_damaged_files_are_refused(tmp_path):
    check(fuzz(tmp_path, 20, 0, KINDS), 20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_damaged_files_are_refused(kind, tmp_path):
    check(fuzz(tmp_path, 1000, 1, [kind]), 1000)
