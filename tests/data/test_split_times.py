"""Times in two columns, and joint states as ROS 2 prints them."""

from typing import Any

import numpy as np
import pytest
from told import read_told

from roboopt.data import Columns

JOINTS = ["pan", "lift"]
STEPS = 80
# Odd nanoseconds in the 57th year since 1970, which floating-point numbers round.
STAMPS = 1_764_233_999_873_123_457 + 4_000_001 * np.arange(STEPS)
Q = np.sin(0.004 * np.arange(STEPS)[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
NAMES = [f"{quantity} {joint}" for quantity in ("q", "dq", "tau") for joint in JOINTS]
NUMBERS = np.hstack([Q, DQ, TAU])


def read(source, **options):
    (run,), said = read_told(source, joints=JOINTS, **options)
    return run, said


def check(source, **options):
    run, said = read(source, **options)
    np.testing.assert_array_equal(run.observations, np.hstack([Q, DQ]))
    np.testing.assert_array_equal(run.actions, TAU[:-1])
    assert run.times is None and run.time_step == 4_000_001e-9
    return said


def written(path, header, rows):
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join([*([",".join(header)] if header else []), *lines]) + "\n")
    return path


def split(rows=STAMPS):
    return [*zip((rows // 10**9).tolist(), (rows % 10**9).tolist(), strict=True)]


@pytest.mark.parametrize(
    "names",
    [
        ("secs", "nsecs"),
        ("sec", "nanosec"),
        ("header.stamp.secs", "header.stamp.nsecs"),
        ("field.header.stamp.sec", "field.header.stamp.nanosec"),
        (".header.stamp.sec", ".header.stamp.nanosec"),
        ("/joint_states/header/stamp/sec", "/joint_states/header/stamp/nanosec"),
    ],
)
def test_seconds_and_nanoseconds_are_one_time(tmp_path, names):
    rows = [(*s, *n) for s, n in zip(split(), NUMBERS.tolist(), strict=True)]
    assert not check(written(tmp_path / "x.csv", [*names, *NAMES], rows))
    pandas = pytest.importorskip("pandas")
    assert not check(pandas.DataFrame(rows, columns=[*names, *NAMES]))
    columns = Columns(names[0], NAMES[:2], NAMES[2:4], NAMES[4:])
    check(tmp_path / "x.csv", columns=columns)


def test_the_time_of_arrival_stands_behind_the_stamp(tmp_path):
    arrival = split(STAMPS + np.arange(STEPS) ** 2)
    rows = [
        (*a, *s, *n) for a, s, n in zip(arrival, split(), NUMBERS.tolist(), strict=True)
    ]
    names = ("time.sec", "time.nsec", "header.stamp.sec", "header.stamp.nsec")
    check(written(tmp_path / "x.csv", [*names, *NAMES], rows))


def test_rows_of_other_sensors_have_no_stamp(tmp_path):
    rows = []
    for stamp, numbers in zip(split(), NUMBERS.tolist(), strict=True):
        rows += [(*stamp, *numbers, ""), ("", "", *[""] * 6, 1.5)]
    header = ["header.stamp.sec", "header.stamp.nanosec", *NAMES, "temperature"]
    assert "of other sensors" in check(written(tmp_path / "x.csv", header, rows))


@pytest.mark.parametrize("stamp", [(3, 10**9), (3, -1), (3.5, 2), (3, 2.5)])
def test_fractions_of_a_second_are_less_than_one(tmp_path, stamp):
    rows = [(*s, *n) for s, n in zip(split(), NUMBERS.tolist(), strict=True)]
    rows[5] = (*stamp, *rows[5][2:])
    path = written(tmp_path / "x.csv", ["sec", "nanosec", *NAMES], rows)
    with pytest.raises(ValueError, match="whole seconds in sec .* in sample 5"):
        read(path)


def echoed(names=("lift", "pan"), lists=(Q, DQ, TAU), frame=""):
    order = [JOINTS.index(name) for name in names]
    cells = [np.asarray(one)[:, order].tolist() for one in lists]
    return [
        (*stamp, frame, *names, *sum(numbers, []))
        for stamp, *numbers in zip(split(), *cells, strict=True)
    ]


def test_joint_states_without_a_header_are_read_by_the_names_in_their_rows(tmp_path):
    assert not check(written(tmp_path / "x.csv", None, echoed(frame="base_link")))
    other = [(*row[:2], "", "finger", 0.1, 0.2, 0.3) for row in echoed()]
    rows = [row for pair in zip(other, echoed(), strict=True) for row in pair]
    (tmp_path / "y.txt").write_text("")
    said = check(written(tmp_path / "y.txt", None, [*rows, (1, 2, "", "lift")]))
    assert f"{STEPS + 1} rows are cut off, or of other joints" in said
    # Each message names its joints in an order of its own.
    back, rows = echoed(("pan", "lift")), echoed()
    mixed = [(back if k % 3 else rows)[k] for k in range(len(rows))]
    assert not check(written(tmp_path / "x.csv", None, mixed))


def yaml(version, lists):
    """Return joint states as `rostopic echo` and `ros2 topic echo` print them."""
    text = []
    for k, (whole, fraction) in enumerate(split()):
        cells: dict[str, Any] = {"name": ["lift", "pan"]}
        cells |= {
            name: np.asarray(one)[k][::-1].tolist() for name, one in lists.items()
        }
        if version == 1:
            text += ["header: ", f"  seq: {k}", "  stamp: ", f"    secs: {whole}"]
            text += [f"    nsecs:  {fraction}", "  frame_id: ''"]
            cells["name"] = "[lift, pan]"
            text += [f"{name}: {one}" for name, one in cells.items()]
        else:
            text += ["header:", "  stamp:", f"    sec: {whole}"]
            text += [f"    nanosec: {fraction}", "  frame_id: ''"]
            for name, one in cells.items():
                items = [f"- {cell}" for cell in one]
                text += [f"{name}:", *items] if items else [f"{name}: []"]
        text.append("---")
    return text


@pytest.mark.parametrize("version", [1, 2])
def test_joint_states_are_read_as_they_are_printed(tmp_path, version):
    lists = {"position": Q, "velocity": DQ, "effort": TAU}
    text = yaml(version, lists)
    (tmp_path / "x.txt").write_text("\n".join(text))
    assert not check(tmp_path / "x.txt")
    (tmp_path / "x.yaml").write_text("\n".join([*text, *text[:8]]))
    assert "1 rows are cut off" in check(tmp_path / "x.yaml")
    # NaN is .nan in YAML, as of a robot that does not measure its velocities.
    unknown = yaml(version, {**lists, "velocity": np.full((STEPS, 2), np.nan)})
    unknown = "\n".join(unknown).replace("nan\n", ".nan\n")
    unknown = unknown.replace("[nan, nan]", "[.nan, .nan]")
    (tmp_path / "z.yaml").write_text(unknown)
    assert "no velocities were recorded" in read(tmp_path / "z.yaml")[1]
    # Empty lists are [] in both.
    if version == 1:
        text = ["velocity: []" if "velocity" in line else line for line in text]
    else:
        text = yaml(version, {**lists, "velocity": np.zeros((STEPS, 0))})
    (tmp_path / "y.yaml").write_text("\n".join(text))
    assert "no velocities were recorded" in read(tmp_path / "y.yaml")[1]


def test_a_list_that_is_left_empty_has_to_be_named(tmp_path):
    path = written(tmp_path / "x.csv", None, echoed(lists=(Q, TAU)))
    with pytest.raises(ValueError, match="lacks efforts.*'velocity or effort pan'"):
        read(path)
    efforts = [f"velocity or effort {joint}" for joint in JOINTS]
    run, said = read(path, columns=Columns(efforts=efforts))
    np.testing.assert_array_equal(run.observations[:, :2], Q)
    np.testing.assert_array_equal(run.actions, TAU[:-1])
    assert "no velocities were recorded" in said


@pytest.mark.parametrize(
    "header, row",
    [
        # Decimal commas that separate cells, too.
        (["t", "q pan", "q lift", "tau pan", "tau lift"], "0,004,0,1,0,2,0,3,0,4"),
        # Names of rows have no name of their own, as R writes them.
        (["t", "q pan", "q lift", "tau pan", "tau lift"], "7,0.004,0.1,0.2,0.3,0.4"),
    ],
)
def test_cells_without_a_name_are_refused(tmp_path, header, row):
    path = tmp_path / "x.csv"
    path.write_text("\n".join([",".join(header), row, row]))
    with pytest.raises(ValueError, match="name each column.*5 names"):
        read(path)
    rows = [f"{k},1,2,3,4," for k in range(3)]
    path.write_text("\n".join([",".join(header), *rows]))
    assert read(path)[0].steps == 2
