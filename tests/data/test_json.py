"""Recordings and demonstrations in JSON, as scripts write them."""

import json
import warnings

import numpy as np
import pytest
from told import read_told

from roboopt.data import load_episodes, load_recordings

TIMES = 0.01 * np.arange(60)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
COLUMNS = {"t": TIMES, "q": Q, "dq": Q + 1, "tau": 10 * Q}
LISTS = {name: value.tolist() for name, value in COLUMNS.items()}
ROWS = [
    {n: v[k].tolist() for n, v in COLUMNS.items()} | {"mode": "track"}
    for k in range(len(TIMES))
]
NAMED = [
    {"stamp": t, **{f"{j}_{q}": row[q][k] for k, j in enumerate("ab") for q in row}}
    for t, row in (
        (row["t"], {"position": row["q"], "velocity": row["dq"], "effort": row["tau"]})
        for row in ROWS
    )
]
NESTED = [
    {"stamp": row["t"], "joints": {"position": row["q"], "effort": row["tau"]}}
    for row in ROWS
]
ENDS = [k in (29, 59) for k in range(60)]
SETTINGS = {"dataset": "real", "config": {"rate": 50, "limits": [-1, 1]}}


def written(path, held):
    lines = [held] if path.suffix == ".json" else held
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.mark.parametrize(
    "name, held, count",
    [
        ("object.json", LISTS, 1),
        ("inside.json", {"log": LISTS}, 1),
        ("rows.json", ROWS, 1),
        ("lines.jsonl", ROWS, 1),
        ("names.jsonl", NAMED, 1),
        ("nested.jsonl", NESTED, 1),
        ("several.json", [LISTS, LISTS, LISTS], 3),
        ("runs.json", {"runs": [{"type": "chirp", **LISTS}] * 2}, 2),
        ("by_name.json", {"first": LISTS, "second": LISTS}, 2),
    ],
)
def test_recordings_are_read(tmp_path, name, held, count):
    runs, _ = read_told(written(tmp_path / name, held), joints=["a", "b"])
    assert len(runs) == count
    for run in runs:
        assert run.time_step == pytest.approx(0.01)
        np.testing.assert_allclose(run.observations[:, :2], Q)
        np.testing.assert_allclose(run.actions, 10 * Q[:-1])
        if held is not NESTED:
            np.testing.assert_allclose(run.observations[:, 2:], Q + 1)


@pytest.mark.parametrize(
    "held",
    [
        {"obs": Q.tolist(), "acts": Q.tolist(), "dones": ENDS},
        [{"obs": Q[:30].tolist(), "acts": Q[:29].tolist()}] * 2,
    ],
)
def test_demonstrations_are_read(tmp_path, held):
    path = written(tmp_path / "demos.json", held)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a time step is assumed
        episodes = load_episodes(path, time_step=0.1)
    assert len(episodes) == 2
    np.testing.assert_allclose(episodes[0].actions[:29], Q[:29])


def test_null_is_a_missing_number(tmp_path):
    lists = {**LISTS, "tau": [[None, None], *LISTS["tau"][1:]]}
    (run,), _ = read_told(written(tmp_path / "x.json", lists), joints=["a", "b"])
    np.testing.assert_allclose(run.actions, 10 * Q[1:-1])


def test_settings_beside_recordings_are_left_alone(tmp_path):
    held = {**SETTINGS, "data": [LISTS, LISTS]}
    runs, said = read_told(written(tmp_path / "x.json", held), joints=["a", "b"])
    assert len(runs) == 2 and "dataset" in said
    np.savez(tmp_path / "x.npz", **COLUMNS)
    (tmp_path / "x.json").write_text(json.dumps(SETTINGS))
    runs, _ = read_told(tmp_path, joints=["a", "b"])
    assert len(runs) == 1


@pytest.mark.parametrize(
    "text, match",
    [
        ("{'t': 1}", "must be JSON"),
        ("{}", "must hold"),
        ('{"t": [0, 1], "q": [[0], [0, 1]]}', "lists of one length, but those in q of"),
        ('{"name": "robot", "links": ["a", "b"]}', "must hold"),
    ],
)
def test_what_holds_no_recording_is_refused(tmp_path, text, match):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_told(tmp_path / "x.json", joints=["a", "b"])


def messages(topics, wrapped=True):
    """Return joint states of ROS, a message each: the joints in another order."""
    made = []
    for k, stamp in enumerate(TIMES):
        said = {"header": {"stamp": {"sec": 1700000000, "nanosec": round(1e9 * stamp)}}}
        said |= {"name": ["b", "a"], "position": Q[k, ::-1].tolist()}
        said |= {"velocity": (Q[k] + 1)[::-1].tolist(), "effort": [2.0, 1.0]}
        made += [{"topic": t, "log_time": k, "data": said} for t in topics]
        made += [{"topic": "/tf", "log_time": k, "data": {"transforms": []}}]
    return made if wrapped else [one["data"] for one in made if one["topic"] != "/tf"]


def test_messages_that_name_joints_in_other_orders_are_read_by_name(tmp_path):
    held = messages(["/joint_states"], wrapped=False)
    for one in held[1::2]:
        for name in ("name", "position", "velocity", "effort"):
            one[name] = one[name][::-1]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, held)))
    (run,) = load_recordings(path, joints=["a", "b"])
    np.testing.assert_allclose(run.observations, np.concatenate([Q, Q + 1], 1))
    np.testing.assert_array_equal(run.actions, [[1.0, 2.0]] * (len(Q) - 1))
    held[3]["name"] = ["c", "a"]
    path.write_text("\n".join(map(json.dumps, held)))
    with pytest.raises(ValueError, match="b, a in message 0 and c, a in message 3"):
        load_recordings(path, joints=["a", "b"])


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_messages_of_joint_states_are_read_in_the_robots_order(tmp_path, name, wrapped):
    held = messages(["/joint_states"], wrapped)
    path = tmp_path / name
    path.write_text(
        json.dumps(held) if name == "x.json" else "\n".join(map(json.dumps, held))
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (run,) = load_recordings(path, joints=["a", "b"])
    np.testing.assert_allclose(run.observations, np.concatenate([Q, Q + 1], 1))
    np.testing.assert_array_equal(run.actions[0], [1.0, 2.0])
    assert run.time_step == pytest.approx(0.01)
    said = " ".join(str(w.message) for w in caught)
    assert ("/tf left out: no joint states" in said) == wrapped


def test_joint_states_of_two_topics_are_refused(tmp_path):
    path = written(tmp_path / "x.jsonl", messages(["/left", "/right"]))
    with pytest.raises(ValueError, match="one topic, but .* come from /left, /right"):
        load_recordings(path, joints=["a", "b"])


def parts():
    """Return three episodes of steps, and their observations and actions."""
    rng = np.random.default_rng(0)
    seen = [rng.normal(size=(size, 3)) for size in (9, 7, 8)]
    acted = [rng.normal(size=(len(one), 2)) for one in seen]
    steps = [
        [
            {"observation": o.tolist(), "action": a.tolist()}
            for o, a in zip(*one, strict=True)
        ]
        for one in zip(seen, acted, strict=True)
    ]
    return steps, seen, acted


@pytest.mark.parametrize("form", ["lists", "steps", "object"])
def test_episodes_of_steps_are_read(tmp_path, form):
    steps, seen, acted = parts()
    held: object = steps
    if form != "lists":
        held = [{"steps": one, "operator": "ann"} for one in steps]
    if form == "object":
        for step in (step for one in steps for step in one):
            *q, grip = step["observation"]
            step["observation"] = {"q": q, "z": grip}
        held = {"fps": 50, "episodes": held}
    path = written(tmp_path / "x.json", held)
    with warnings.catch_warnings(action="ignore"):
        runs = load_episodes(path)
    assert len(runs) == 3
    for run, own, acts in zip(runs, seen, acted, strict=True):
        np.testing.assert_array_equal(run.observations, own)
        np.testing.assert_array_equal(run.actions, acts[:-1])
        assert run.time_step == (0.02 if form == "object" else 1.0)
