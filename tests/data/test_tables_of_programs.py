"""Tables as pandas, KUKA and laboratories write them, whole and damaged."""

import numpy as np
import pytest
from told import read_told

import roboopt as ro
from roboopt.data import Columns, load_episodes, load_recordings

JOINTS = ["joint1", "joint2"]
TIMES = 0.01 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
HEADER = ["t", "q1", "q2", "dq1", "dq2", "tau1", "tau2"]
ROWS = np.column_stack([TIMES, Q, DQ, TAU])


def read(source, **options):
    (run,), said = read_told(source, joints=JOINTS, **options)
    return run, said


def check(source, **options):
    run, said = read(source, **options)
    np.testing.assert_allclose(run.observations, np.hstack([Q, DQ]), atol=1e-9)
    np.testing.assert_allclose(run.actions, TAU[:-1], atol=1e-9)
    assert run.times is None and run.time_step == pytest.approx(0.01, rel=1e-6)
    return said


def lines(rows=ROWS, header=HEADER, separator=","):
    cells = [[c if isinstance(c, str) else f"{c:.12f}" for c in row] for row in rows]
    return [separator.join(row) for row in ([header] if header else []) + cells]


def written(path, text):
    path.write_text("\n".join(text) + "\n")
    return path


def changed(row, column, cell):
    rows = ROWS.astype(object)
    rows[row, column] = cell
    return rows


@pytest.mark.parametrize("units", [[], ["s,rad,rad,rad/s,rad/s,Nm,Nm"]])
def test_lines_before_the_names_are_left_out(tmp_path, units):
    names, *rows = lines()
    title = ["Log of the robot", "Rate: 100 Hz, gain 3", ""]
    said = check(written(tmp_path / "x.csv", [*title, names, *units, *rows]))
    assert "3 lines before the names of columns left out" in said
    # Two rows of names are none to choose from.
    with pytest.raises(ValueError, match="'q1' in column q1, sample 0"):
        read(written(tmp_path / "y.csv", [names, names, *rows]))


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_decimal_commas_need_no_names(tmp_path, separator):
    text = [line.replace(".", ",") for line in lines(header=[], separator=separator)]
    names = [str(k) for k in range(7)]
    columns = Columns("0", names[1:3], names[3:5], names[5:])
    check(written(tmp_path / "x.csv", text), columns=columns)


@pytest.mark.parametrize("cell", ["1_0", "0x10", "1'000.5", "OVERRUN", "−0.5"])
def test_what_is_no_number_is_refused(tmp_path, cell):
    path = written(tmp_path / "x.csv", lines(changed(5, 1, cell)))
    with pytest.raises(ValueError, match="in column q1, sample 5"):
        read(path)


def test_a_quote_without_an_end_is_refused(tmp_path):
    text = [",".join(f'"{c}"' for c in line.split(",")) for line in lines()]
    check(written(tmp_path / "x.csv", text))
    broken = text[9].replace('",', ",", 1)
    with pytest.raises(ValueError, match="`path` must be a table"):
        read(written(tmp_path / "y.csv", [*text[:9], broken, *text[10:]]))
    damaged = (tmp_path / "y.csv").read_bytes().replace(b"0.5", b"\xff.5", 1)
    (tmp_path / "y.csv").write_bytes(damaged)  # as Latin-1
    with pytest.raises(ValueError, match="`path` must be a table"):
        read(tmp_path / "y.csv")
    said = check(written(tmp_path / "z.csv", [*text, '"0.8","0.']))
    assert "the last row of z.csv is cut off" in said


def test_a_sample_without_a_stamp_is_left_out(tmp_path):
    # Read as 0, an empty stamp would go unnoticed in the first row.
    run, said = read(written(tmp_path / "x.csv", lines(changed(0, 0, ""))))
    np.testing.assert_allclose(run.observations, np.hstack([Q, DQ])[1:], atol=1e-12)
    assert "sample 0 lacks t at the ends: left out" in said


def test_columns_that_hold_nothing_were_not_recorded(tmp_path):
    said = read(written(tmp_path / "x.csv", lines(changed(slice(None), 3, "nan"))))[1]
    assert "no velocities were recorded" in said
    path = written(tmp_path / "y.csv", lines(changed(slice(None), 5, "")))
    with pytest.raises(ValueError, match="holds no efforts in tau1"):
        read(path)


def test_a_time_step_may_stand_in_for_times(tmp_path):
    path = tmp_path / "x.txt"
    np.savetxt(path, ROWS[:, 1:])
    names = [str(k) for k in range(6)]
    check(path, columns=Columns("0.01", names[:2], names[2:4], names[4:]))
    np.savez(tmp_path / "x.npz", qpos=Q, qvel=DQ, qfrc_actuator=TAU, ctrl=TAU)
    check(tmp_path / "x.npz", columns=Columns("0.01"))


def test_the_recorder_of_kuka_is_read_by_the_names_of_its_columns(tmp_path):
    kinds = ("axisQMsr", "axisTauMsr")
    names = [[f"{kind}_LBR_iiwa_7_R800_1[{k}]" for k in (0, 1)] for kind in kinds]
    text = [" ".join(["% ZeitInSec ZeitInNanoSec", *names[0], *names[1]])]
    for k, numbers in enumerate(ROWS.tolist()):
        stamp = 1_700_000_000_995_000_000 + 10_000_000 * k
        cells = [stamp // 10**9, stamp % 10**9, *numbers[1:3], *numbers[5:]]
        text.append(" ".join(map(str, cells)))
    path = written(tmp_path / "DataRecorder1.log", text)
    run, _ = read(path, columns=Columns(positions=names[0], efforts=names[1]))
    np.testing.assert_array_equal(run.observations[:, :2], Q)
    assert run.time_step == 0.01 and run.times is None


def test_frames_of_pandas_are_read_from_their_files(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    plain = pandas.DataFrame(ROWS, columns=HEADER)
    stamps = 1_700_000_000_000_000_000 + 10_000_000 * np.arange(len(TIMES))
    dated = plain.drop(columns="t").set_index(pandas.to_datetime(stamps))
    message = {"name": [JOINTS[::-1]] * len(TIMES)}
    for name, values in {"position": Q, "velocity": DQ, "effort": TAU}.items():
        message[name] = values[:, ::-1].tolist()
    nested = pandas.DataFrame({"header.stamp [ns]": stamps, **message})
    for k, frame in enumerate((plain, dated, nested)):
        frame.to_parquet(tmp_path / f"{k}.parquet")
        frame.to_csv(tmp_path / f"{k}.csv")
        for end in ("parquet", "csv"):
            assert not check(tmp_path / f"{k}.{end}")
    sparse = plain.astype({"q1": "Float64"})
    sparse.loc[[3, 4], "q1"] = None
    sparse.to_parquet(tmp_path / "x.parquet")
    run, said = read(tmp_path / "x.parquet")
    np.testing.assert_array_equal(run.observations[:, 0], np.delete(Q[:, 0], [3, 4]))
    assert "2 samples, 3 to 4, lack q1" in said


def test_lists_of_other_lengths_are_no_vectors(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    # Six numbers of three rows, as of two each.
    state = [[1.0, 2.0, 3.0], [4.0], [5.0, 6.0]]
    columns = {"observation.state": state, "action": [[1.0]] * 3}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="observation.state of .* objects"):
        load_episodes(tmp_path / "x.parquet")


def test_datasets_of_imitation_are_read(tmp_path):
    pa = pytest.importorskip("pyarrow")
    sizes = (4, 2)
    rows = {
        "obs": [np.arange(2.0 * (n + 1)).reshape(-1, 2).tolist() for n in sizes],
        "acts": [(-np.arange(1.0 * n)[:, None]).tolist() for n in sizes],
        "infos": [["{}"] * n for n in sizes],
        "terminal": [True, False],
        "rews": [[0.5] * n for n in sizes],
    }
    table = pa.table(rows)
    (tmp_path / "dataset_info.json").write_text("{}")
    file = tmp_path / "data-00000-of-00001.arrow"
    with pa.ipc.new_stream(f"{file}", table.schema) as stream:
        stream.write_table(table)
    with pytest.warns(UserWarning, match="infos left out"):
        runs = load_episodes(tmp_path, time_step=0.1)
    assert [run.steps for run in runs] == [4, 2]
    assert [bool(run.terminated) for run in runs] == [True, False]
    np.testing.assert_array_equal(runs[1].observations, rows["obs"][1])
    np.testing.assert_array_equal(runs[1].actions, rows["acts"][1])
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(ValueError, match="`path` must be a dataset of Hugging Face"):
        load_episodes(tmp_path)


@pytest.mark.parametrize("name", ["x.pkl", "demos.pickle", "x.xlsx"])
def test_files_of_other_formats_are_told_how_to_be_written(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    said = "could run code" if "p" in name[:-1] and "xls" not in name else "as CSV"
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(ValueError, match=said):
            load_recordings(source, joints=JOINTS)


def test_values_beyond_any_robots_are_found(tmp_path):
    run, _ = read(written(tmp_path / "x.csv", lines(changed(5, 1, "1e30"))))
    found = ro.diagnose.check_recordings(run)[0]
    assert found.severity == "error" and found.code == "too_large"


@pytest.mark.filterwarnings("ignore:.*as many observations as actions")
def test_the_unit_of_times_of_demonstrations_is_told(tmp_path):
    path = tmp_path / "demos.csv"
    np.savetxt(
        path,
        np.column_stack([np.arange(9), Q[:9], TAU[:9]]),
        delimiter=",",
        header="time,obs_0,obs_1,action_0,action_1",
        comments="",
    )
    with pytest.warns(UserWarning, match="`time` is read as times in ms"):
        (episode,) = load_episodes(path)
    assert episode.time_step == pytest.approx(1e-3)
