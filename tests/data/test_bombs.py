"""Files that claim or hold more than a reader should take memory for."""

import bz2
import gzip
import io
import lzma
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import roboopt as ro
from roboopt.cli._config import defaults_from
from roboopt.cli.tune import Tune
from roboopt.urdf import read_urdf

MEMORY = 300_000_000  # bytes, of Python and NumPy


def header(*shape):
    out = io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, fields)
    return out.getvalue()


def claiming(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("observations.npy", header(1 << 40) + b"x" * 100)


def expanding(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("schema.npy", "w", force_zip64=True) as member:
            member.write(header(3 << 26))
            for _ in range(96):
                member.write(bytes(1 << 24))


def wide(path):
    path.write_text(",".join(f"c{k}" for k in range(500_000)) + "\n1\n")


def long(path):
    with gzip.GzipFile(path, "wb", compresslevel=1) as file:
        file.write(b"t,q,v,tau\n")
        for _ in range(17):
            file.write(b"0" * (1 << 26))


def nested(path):
    path.write_text(f"<robot name='x'>{'<a>' * 50_000}{'</a>' * 50_000}</robot>")


def lists(path):
    path.write_text('{"command": "tune", "flags": ' + "[" * 100_000)


def recordings(path):
    return ro.data.load_recordings(path)


@pytest.mark.parametrize(
    "name, write, read, said",
    [
        ("a.npz", claiming, ro.load, "a.npz is empty, truncated, broken"),
        ("a.npz", expanding, ro.load, "claims to expand to 1.5 GiB"),
        ("a.npz", expanding, recordings, "claims to expand to 1.5 GiB"),
        ("a.csv", wide, recordings, "at most 10000 columns.* has 500000"),
        ("a.urdf", nested, read_urdf, "must nest at most 100 elements"),
        ("a.json", lists, lambda p: defaults_from(p, Tune), "nests too deep"),
    ],
)
def test_a_bomb_is_refused_before_memory_is_taken(tmp_path, name, write, read, said):
    path = tmp_path / name
    write(path)
    tracemalloc.start()
    try:
        with pytest.raises(ro.RobooptError, match=said):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [gzip, bz2, lzma])
def test_a_small_table_expands_to_little(tmp_path, pack):
    path = tmp_path / "a.csv.gz"
    with pack.open(path, "wb") as file:
        for _ in range(17 * 16):
            file.write(b"t,q,v,tau".ljust(1 << 16) + b"\n")
    with pytest.raises(ro.RobooptError, match="16777216 characters in all"):
        recordings(path)


@pytest.mark.parametrize(
    "line, said",
    [
        (b"0,0,0,0\n", "at most 262144 lines"),
        (b"\n", "at most 262144 lines"),
        (b"#\n", "at most 10000 lines of comments"),
        (b"0,0,0,0" + b"," * 4000 + b"\n", "16777216 characters in all"),
    ],
)
def test_a_small_table_expands_to_few_lines(tmp_path, line, said):
    path = tmp_path / "a.csv.gz"
    with gzip.GzipFile(path, "wb", compresslevel=1) as file:
        file.write(b"" if line[:1] == b"#" else b"t,q,v,tau\n")
        file.write(line * (2**24 // len(line) + 2))
    began = time.process_time()
    with pytest.raises(ro.RobooptError, match=said):
        recordings(path)
    assert time.process_time() - began < 3.0  # 0.3 on a quiet machine


@pytest.mark.slow
def test_a_table_that_expands_without_end_is_refused(tmp_path):
    path = tmp_path / "a.csv.gz"
    long(path)
    with pytest.raises(ro.RobooptError, match="goes on"):
        recordings(path)
