"""Files of MATLAB and Simulink: of version 5, of version 7.3, and with objects."""

import struct

import numpy as np
import pytest
from told import read_told

from roboopt.data import Columns, load_episodes

JOINTS = ["pan", "lift"]
TIMES = 0.004 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
MOTION = {"q": Q, "dq": DQ, "tau": TAU}


def read(source, **options):
    return read_told(source, joints=JOINTS, **options)


def check(source, runs=1, **options):
    found, said = read(source, **options)
    assert len(found) == runs
    for run in found:
        np.testing.assert_array_equal(run.observations, np.hstack([Q, DQ]))
        np.testing.assert_array_equal(run.actions, TAU[:-1])
        assert run.times is None and run.time_step == pytest.approx(0.004)
    return said


def write5(path, values):
    pytest.importorskip("scipy.io").savemat(path, values)


def write73(path, values):
    """Write HDF5 as MATLAB does: axes reversed, texts as numbers, cells referenced."""
    h5py = pytest.importorskip("h5py")

    def put(file, group, name, value):
        if isinstance(value, dict):
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            for inner, one in value.items():
                put(file, made, inner, one)
            return
        if isinstance(value, list):  # an array of structures
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            for inner in value[0]:
                places = np.empty((1, len(value)), h5py.ref_dtype)
                for k, one in enumerate(value):
                    inside = file.require_group("#refs#")
                    place = f"value{len(inside)}"
                    put(file, inside, place, one[inner])
                    places[0, k] = file["#refs#"][place].ref
                made.create_dataset(inner, data=places, dtype=h5py.ref_dtype)
            return
        text = isinstance(value, str)
        numbers = [[ord(c)] for c in value] if text else np.atleast_2d(value).T
        kind = "char" if text else "double"
        made = group.create_dataset(
            name, data=np.array(numbers, "u2" if text else float)
        )
        made.attrs["MATLAB_class"] = np.bytes_(kind)

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in values.items():
            put(file, file, name, value)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    path.write_bytes(head + path.read_bytes()[len(head) :])


def structure(values, labels=("",), block="arm/To Workspace", time=TIMES):
    """Return a structure with time, as a block To Workspace writes it."""
    signals = [
        {"values": value, "dimensions": float(value.shape[-1]), "label": label}
        for value, label in zip(values, labels, strict=True)
    ]
    single = len(signals) == 1
    return {
        "time": np.asarray(time)[:, None],
        "signals": signals[0] if single else signals,
        "blockName": block,
    }


WRITERS = pytest.mark.parametrize("write", [write5, write73])


def of_version_5(value):
    """Return lists of structures as arrays of objects, which SciPy writes as arrays."""
    if isinstance(value, dict):
        return {name: of_version_5(one) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    kinds = [(name, object) for name in value[0]]
    return np.array([tuple(one.values()) for one in value], kinds)


def saved(write, path, values):
    write(path, of_version_5(values) if write is write5 else values)
    return path


@WRITERS
def test_structures_with_time_are_read_by_their_labels(tmp_path, write):
    run = structure([*MOTION.values(), Q], ["q", "<dq>", "tau", "reference"])
    assert not check(saved(write, tmp_path / "one.mat", {"simout": run}))
    both = {"run_1": run, "run_2": run}
    check(saved(write, tmp_path / "two.mat", both), runs=2)


@WRITERS
def test_structures_of_one_signal_are_read_by_their_names(tmp_path, write):
    files = {name: structure([value]) for name, value in MOTION.items()}
    # Signals of Simulink have their time in the last axis where they are matrices.
    files["tau"]["signals"]["values"] = TAU.T[:, None, :]
    files |= {"tout": TIMES[:, None], "other": structure([Q[:9]], time=TIMES[:9])}
    assert not check(saved(write, tmp_path / "x.mat", {"out": files}))
    blocks = {
        f"simout{k}": structure([value], block=f"arm/{name}")
        for k, (name, value) in enumerate(MOTION.items())
    }
    assert not check(saved(write, tmp_path / "y.mat", blocks))
    # What looks like a structure of signals, and holds none, is left alone.
    odd = {"time": TIMES, "signals": {"label": "q"}}
    said = check(saved(write, tmp_path / "v.mat", {**blocks, "odd": odd}))
    assert "odd.signals.label left out" in said
    files["dq"] = structure([DQ[::2]], time=TIMES[::2])
    with pytest.raises(ValueError, match="signals of the same times, but those of"):
        read(saved(write, tmp_path / "z.mat", files))


@WRITERS
def test_arrays_are_read_beside_the_times_of_the_solver(tmp_path, write):
    files = {**MOTION, "tout": TIMES[:, None]}
    assert not check(saved(write, tmp_path / "x.mat", files))
    # A block To File writes one matrix, whose first row holds the times.
    rows = np.vstack([TIMES, Q.T, DQ.T, TAU.T])
    path = saved(write, tmp_path / "y.mat", {"ans": rows})
    with pytest.raises(ValueError, match=r"'ans\[0\]', 'ans\[1\]'"):
        read(path)
    names = [f"ans[{k}]" for k in range(7)]
    assert not check(path, columns=Columns(names[0], names[1:3], names[3:5], names[5:]))


@pytest.mark.parametrize("steps", [1, 2, 30])
@WRITERS
def test_demonstrations_of_both_versions_are_alike(tmp_path, write, steps):
    seen = np.arange(3.0 * (steps + 1)).reshape(-1, 3)
    acted = np.arange(2.0 * steps).reshape(-1, 2)
    path = saved(write, tmp_path / "x.mat", {"obs": seen, "act": acted, "dt": 0.1})
    (one,) = load_episodes(path)
    np.testing.assert_array_equal(one.observations, seen)
    np.testing.assert_array_equal(one.actions, acted)
    assert one.time_step == 0.1


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def variable(flags, *parts):
    whole = element(6, struct.pack("<II", flags, 0)) + b"".join(parts)
    return element(14, whole)


def opaque(name, kind):
    """Return an object of a class, as version 5 holds it: names and a reference."""
    reference = struct.pack("<6I", 0xDD000000, 2, 1, 1, 1, 1)
    size = element(5, struct.pack("<ii", 6, 1))
    number = variable(13, size, element(1, b""), element(6, reference))
    texts = [element(1, text.encode()) for text in (name, "MCOS", kind)]
    return variable(17, *texts, number)


def with_objects(path, values, objects):
    write5(path, values)
    whole = path.read_bytes()
    path.write_bytes(whole + b"".join(opaque(*one) for one in objects.items()))
    return path


def with_objects_73(path, values, objects):
    write73(path, {"unused": 0.0, **values})
    with pytest.importorskip("h5py").File(path, "a") as file:
        for name, kind in objects.items():
            file[name] = np.array([[0xDD000000, 2, 1, 1, 1, 1]], "u4")
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
            file[name].attrs["MATLAB_object_decode"] = np.int32(3)
    return path


@pytest.mark.parametrize("write", [with_objects, with_objects_73])
def test_objects_of_classes_name_the_lines_that_write_arrays(tmp_path, write):
    path = tmp_path / "x.mat"
    series = dict.fromkeys(MOTION, "timeseries")
    line = r"run.t = d?q.Time; .*run.q = squeeze\(q.Data\); .*save\(.run.mat"
    with pytest.raises(ValueError, match=rf"`q` of class timeseries.*{line}"):
        read(write(path, {"gain": 1.0}, series))
    with pytest.raises(ValueError, match=r"d = logsout; for k = 1:d.numElements"):
        read(write(path, {}, {"logsout": "Simulink.SimulationData.Dataset"}))
    with pytest.raises(ValueError, match=r"writetimetable\(log, 'run.csv'\)"):
        read(write(path, {}, {"log": "timetable"}))
    said = check(write(path, {**MOTION, "t": TIMES}, {"made": "datetime"}))
    assert "made left out: no arrays of numbers" in said
