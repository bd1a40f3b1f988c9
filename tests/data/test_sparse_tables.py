"""Tables that merge topics, whose positions and efforts stand in different rows."""

import numpy as np
import pytest
from told import read_told

JOINTS = ["pan_joint", "lift_joint"]
TIMES = {"position": 0.01 * np.arange(300), "effort": 0.0013 + 0.004 * np.arange(760)}


def positions(times):
    return np.sin(np.multiply.outer(times, [1.0, 2.0]))


def efforts(times):
    return 10 * positions(times) - 1


def merged(path, *, effort="/efforts/{}/effort", times=TIMES, velocities=False):
    """Write rows as PlotJuggler does: one a message, its other cells empty."""
    fields = {"/joint_states/{}/position": (times["position"], positions)}
    if velocities:

        def rates(times):
            return np.gradient(positions(times), times, axis=0)

        fields["/joint_states/{}/velocity"] = (times["position"], rates)
    fields[effort] = times["effort"], efforts
    header = [field.format(joint) for field in fields for joint in JOINTS]
    rows: dict[float, list[str]] = {}
    for k, (stamps, values) in enumerate(fields.values()):
        for stamp, pair in zip(stamps, values(stamps), strict=True):
            row = rows.setdefault(stamp, [""] * len(header))
            row[2 * k : 2 * k + 2] = [f"{x:.12f}" for x in pair]
    lines = [f"{1.7e9 + t:.6f}," + ",".join(rows[t]) for t in sorted(rows)]
    path.write_text("\n".join([",".join(["__time", *header]), *lines]) + "\n")
    return path


def check(path, tolerance=2e-4):
    (run,), said = read_told(path, joints=JOINTS)
    # The first sample of the efforts is later, and their last is earlier or later.
    first, last = TIMES["effort"][[0, -1]]
    inside = TIMES["position"][(TIMES["position"] >= first)]
    inside = inside[inside <= last]
    np.testing.assert_allclose(run.observations[:, :2], positions(inside), atol=1e-9)
    # A line through samples 4 ms apart is off by at most 10 · 2² · 0.004² / 8 = 8e-5.
    np.testing.assert_allclose(run.actions, efforts(inside)[:-1], atol=tolerance)
    assert run.times is None and run.time_step == pytest.approx(0.01)
    assert "rows of their own, every 0.004 s, and the positions every 0.01 s" in said
    return run


@pytest.mark.parametrize("velocities", [False, True])
@pytest.mark.parametrize(
    "effort",
    ["/efforts/{}/effort", "/sensors/raw/{}/torque", "/joint_states/{}/effort"],
)
def test_efforts_in_rows_of_their_own_are_read_at_their_own_times(
    tmp_path, effort, velocities
):
    check(merged(tmp_path / "x.csv", effort=effort, velocities=velocities))


def test_joints_in_rows_of_their_own_are_read_at_one_clock(tmp_path):
    # Motors on a bus answer in turn.
    q, tau = positions(TIMES["position"]), efforts(TIMES["position"])
    lines = ["t,q1,tau1,q2,tau2"]
    for k, t in enumerate(TIMES["position"]):
        one, two = (f"{q[k, j]:.12f},{tau[k, j]:.12f}" for j in (0, 1))
        later = positions(np.array([t + 0.005]))[0, 1]
        two = f"{later:.12f},{10 * later - 1:.12f}"
        lines += [f"{t:.4f},{one},,", f"{t + 0.005:.4f},,,{two}"]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    (run,), said = read_told(tmp_path / "x.csv", joints=JOINTS)
    assert "q2, tau2 have rows of their own" in said
    kept = TIMES["position"][1:]
    np.testing.assert_allclose(run.observations[:, :2], positions(kept), atol=1e-7)
    np.testing.assert_allclose(run.actions, efforts(kept)[:-1], atol=6e-4)


def test_slower_efforts_beside_positions_are_interpolated(tmp_path):
    times = {"position": 0.004 * np.arange(751), "effort": 0.02 * np.arange(151)}
    times["effort"] = np.round(times["effort"], 6)
    times["position"] = np.round(times["position"], 6)
    (run,), said = read_told(merged(tmp_path / "x.csv", times=times), joints=JOINTS)
    np.testing.assert_allclose(
        run.actions, efforts(times["position"])[:-1], atol=2.1e-3
    )
    assert "every 0.02 s, and the positions every 0.004 s" in said


def test_a_long_gap_of_one_topic_is_refused(tmp_path):
    stamps = TIMES["effort"]
    times = TIMES | {"effort": stamps[(stamps < 1) | (stamps > 1.5)]}
    path = merged(tmp_path / "x.csv", times=times)
    with pytest.raises(ValueError, match=r"pan_joint/effort throughout.* 0\.99.* s to"):
        read_told(path, joints=JOINTS)


def test_times_of_one_topic_alone_are_not_taken_for_all(tmp_path):
    lines = merged(tmp_path / "x.csv").read_text().splitlines()
    stamps = ["/joint_states/header/stamp"]
    for line in lines[1:]:
        time, *cells = line.split(",")
        stamps.append(time if cells[0] else "")
    both = [f"{line},{stamp}" for line, stamp in zip(lines, stamps, strict=True)]
    (tmp_path / "y.csv").write_text("\n".join(both) + "\n")
    check(tmp_path / "y.csv")
    alone = [line.partition(",")[2] for line in both]
    (tmp_path / "z.csv").write_text("\n".join(alone) + "\n")
    with pytest.raises(ValueError, match="header/stamp is empty in some"):
        read_told(tmp_path / "z.csv", joints=JOINTS)
