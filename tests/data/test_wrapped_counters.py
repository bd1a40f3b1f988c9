"""Times of counters that begin anew, and rows that are out of order."""

import warnings

import numpy as np
import pytest
from told import read_told

import roboopt as ro
from roboopt.data import load_episodes
from roboopt.data.io._times import unwrapped

COUNT = 300
ANGLE = np.sin(0.05 * np.arange(COUNT))
MOTION = {"q1": ANGLE, "dq1": np.gradient(ANGLE, 0.005), "tau1": 0.1 * ANGLE}


def episodes_told(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = load_episodes(path)
    return runs, " ".join(str(w.message) for w in caught)


def logged(path, name, stamps):
    rows = np.column_stack([*MOTION.values()])
    lines = [",".join([name, *MOTION])]
    lines += [
        f"{stamp}," + ",".join(map(repr, row.tolist()))
        for stamp, row in zip(stamps, rows, strict=True)
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "name, bits, unit, wraps",
    [
        ("time_us", 32, 1, 1),
        ("t_us", 31, 1, 1),
        ("time_ms", 16, 5 / 5000, 1),
        ("time_us", 16, 1, 22),
    ],
)
def test_a_counter_that_begins_anew_goes_on(tmp_path, name, bits, unit, wraps):
    # A sample each 5 ms, the counter's end after about 100 of them.
    step = round(5000 * unit)
    begin = 2**bits - 100 * step if wraps == 1 else 0
    stamps = (begin + step * np.arange(COUNT)) % 2**bits
    (run,), said = read_told(logged(tmp_path / "x.csv", name, stamps))
    assert run.time_step == pytest.approx(0.005, rel=1e-9) and run.times is None
    assert f"`{name}` begins anew" in said and f"a counter of {bits} bits" in said
    np.testing.assert_allclose(run.observations[:, 0], ANGLE)


@pytest.mark.parametrize(
    "first, before", [(1.0, ""), (1.0, "31.12.2026 "), (86399.0, "")]
)
def test_times_of_the_day_are_read(tmp_path, first, before):
    stamps = np.round(first + 0.005 * np.arange(COUNT), 3)
    texts = []
    for stamp in stamps % 86400:
        minutes, seconds = divmod(stamp, 60)
        hours, minutes = divmod(int(minutes), 60)
        texts.append(f"{before}{hours}:{minutes:02}:{seconds:06.3f}")
    (run,), said = read_told(logged(tmp_path / "x.csv", "time", texts))
    assert run.time_step == pytest.approx(0.005) and run.times is None
    assert ("as a clock does at midnight" in said) == (stamps[-1] >= 86400)


@pytest.mark.parametrize("name, unit", [("millis", 1e3), ("micros", 1e6)])
def test_times_called_by_their_unit_are_in_it(tmp_path, name, unit):
    stamps = (0.005 * unit * np.arange(COUNT)).round().astype(int)
    (run,), said = read_told(logged(tmp_path / "x.csv", name, stamps))
    assert run.time_step == pytest.approx(0.005) and "converted" in said


def test_names_of_columns_that_come_again_are_told(tmp_path):
    path = logged(tmp_path / "x.csv", "time", 0.005 * np.arange(COUNT))
    path.write_text(f"{path.read_text()}\n{path.read_text()}")
    with pytest.raises(ro.RobooptError, match="names of columns come again"):
        read_told(path)


def test_a_counter_with_a_sign_and_one_in_seconds_go_on():
    count = 2**31 - 3 + np.arange(6.0)
    signed = (count + 2**31) % 2**32 - 2**31
    assert signed.min() < 0
    for wrapped in (signed, 1e-6 * (count % 2**31)):
        going, said = unwrapped(wrapped - wrapped[0])
        np.testing.assert_allclose(np.diff(going), np.diff(going)[0], rtol=1e-3)
        assert "sample 3" in said


def test_arrays_of_unsigned_counts_go_on(tmp_path):
    stamps = (2**32 - 50_000 + 5000 * np.arange(COUNT, dtype=np.uint64)) % 2**32
    arrays = {"t_us": stamps.astype(np.uint32), **MOTION}
    np.savez(tmp_path / "x.npz", **arrays)
    (run,), said = read_told(tmp_path / "x.npz")
    assert run.time_step == pytest.approx(0.005) and "begins anew" in said
    seen = ANGLE[:, None]
    episode = {"obs": seen, "act": seen, "times": 1e-6 * stamps.astype(float)}
    np.savez(tmp_path / "y.npz", **episode)
    (run,), said = episodes_told(tmp_path / "y.npz")
    assert "`times` of" in said and "counter of 32 bits" in said
    assert run.steps == COUNT - 1 and run.time_step == pytest.approx(0.005)


def test_where_times_go_back_to_the_first_another_recording_begins(tmp_path):
    stamps = np.r_[0:150, 0:90, 1:61] / 200 + 7  # the last begins a sample later
    runs, said = read_told(logged(tmp_path / "x.csv", "time", stamps))
    assert "begin anew at sample 150, 240: read as 3 recordings" in said
    for run, seen in zip(runs, np.split(ANGLE, [150, 240]), strict=True):
        assert run.time_step == pytest.approx(0.005)
        np.testing.assert_allclose(run.observations[:, 0], seen)


@pytest.mark.parametrize(
    "stamps, match",
    [
        (np.r_[0:150, 60:210] / 100, "sample 150 is 0.89 s before .* cut|sort"),
        (np.r_[0:150, 0:5, 0:145] / 100, "sample 150 is 1.49 s before .* column `run`"),
        (np.r_[100:200, 0:100, 200:300] / 100, "1 of 300 samples: sort|cut it there"),
        (np.r_[0:100, 200:300, 100:200] / 100, "1 of 300 samples: sort its rows"),
    ],
)
def test_times_that_go_back_for_another_reason_are_refused(tmp_path, stamps, match):
    with pytest.raises(ro.RobooptError, match=match):
        read_told(logged(tmp_path / "x.csv", "time", stamps))


def shuffled(path, columns):
    pa, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    rows = np.random.default_rng(0).permutation(len(columns["action"]))
    table = {k: [v[i] for i in rows] for k, v in columns.items()}
    parquet.write_table(pa.table(table), path)
    return path


def test_rows_of_parquet_are_read_by_their_numbers(tmp_path):
    size = 20
    frame = np.tile(np.arange(size), 3)
    index = np.repeat(np.arange(3), size)
    state = np.column_stack([frame, index]).astype(float)
    columns = {"observation.state": state.tolist(), "action": (0.5 * state).tolist()}
    columns |= {"episode_index": index.tolist(), "timestamp": (0.1 * frame).tolist()}
    for numbers in ({"frame_index": frame}, {"index": np.arange(3 * size)}):
        lists = {name: value.tolist() for name, value in numbers.items()}
        path = shuffled(tmp_path / "x.parquet", columns | lists)
        runs, said = episodes_told(path)
        assert "rows of x.parquet are out of order: read by " in said
        assert [run.time_step for run in runs] == pytest.approx([0.1] * 3)
        for k, run in enumerate(runs):
            expected = state[index == k]
            np.testing.assert_array_equal(run.observations, expected)
    # Nothing numbers these.
    path = shuffled(tmp_path / "y.parquet", columns)
    with pytest.raises(ro.RobooptError, match="together"):
        load_episodes(path)
