"""Recordings of ROS 1 and ROS 2: the messages sensor_msgs/JointState of a bag."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import optional_package, read_as
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._columns import Columns, is_commanded
from roboopt.data.io._joint_names import other_names, recorded_names
from roboopt.data.io._read_table import read_table
from roboopt.data.io._rosbag_guard import check_files, check_size
from roboopt.data.io._table import Table

MESSAGES = ("sensor_msgs/msg/JointState", "sensor_msgs/JointState")
ENDS = (".db3", ".mcap", ".db3.zstd", ".mcap.zstd")
REPAIRED = "a whole bag of ROS (`mcap recover` or `ros2 bag reindex` may repair one)"
QUANTITIES = ("position", "velocity", "effort")


def is_bag_folder(path: Path) -> bool:
    """Return whether `path` is a bag of ROS 2 in a folder."""
    return (path / "metadata.yaml").is_file() and any(
        file.name.endswith(ENDS) for file in path.iterdir()
    )


def read_rosbag(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the recording of the joints: `.bag`, `.db3`, `.mcap`, or a folder of ROS 2.

    The names in the messages decide which joint is which. Of several topics and
    publishers the one with the most messages that holds all the robot's joints is read:
    with efforts before others, by the robot's names before others, and of states before
    commands.
    """
    optional_package("rosbags", "bags of ROS", "rosbags")
    with read_as(f"be {REPAIRED}", path):
        found, topics = _messages(path)
    joints = None if options.joints is None else list(options.joints)
    fits = {
        key: one
        for key in found
        if (one := _joints(key[1], options, f"{key[0]} of {path}")) is not None
    }
    if not fits:
        held = "; ".join(f"{topic}: {', '.join(names)}" for topic, names in found)
        what = f"only {held}" if found else f"only the topics {', '.join(topics)}"
        cure = (
            " Give the file's names in the robot's order by `--joints`, joints that "
            "were not recorded by `--locked`; in Python by `Columns(joints=[...])` and "
            "`locked`."
        )
        raise RobooptError(
            "`path` must hold messages sensor_msgs/JointState"
            f"{f' of the joints {joints}' if joints else ''}, but {path} holds {what}."
            f"{cure if found and joints else ''}"
        )

    def rank(key: tuple[str, tuple[str, ...]]) -> tuple[bool, bool, bool, int]:
        efforts = any(len(m["effort"]) for m in found[key])
        same = set(fits[key]) == set(fits[key].values())
        return efforts, same, not is_commanded(key[0]), len(found[key])

    topic, names = max(fits, key=rank)
    if others := sorted({key[0] for key in fits} - {topic}):
        options.note(f"{path.name}: {topic} is read, not {', '.join(others)}.")
    messages, one = found[topic, names], fits[topic, names]
    chosen, places = [*one], [names.index(name) for name in one.values()]
    if options.recorded_joints is None and set(one) != set(one.values()):
        options.note(other_names(str(path), [*one.values()], chosen))
    stamps, arrivals = (
        np.array([m[key] for m in messages]) for key in ("stamp", "arrival")
    )
    header, columns = ["time_ns"], [stamps if np.ptp(stamps) else arrivals]
    known: dict[str, Any] = {}
    for quantity, field in zip(
        QUANTITIES, ("positions", "velocities", "efforts"), strict=True
    ):
        rows = [m[quantity] for m in messages if len(m[quantity]) == len(names)]
        if len(rows) < len(messages):
            continue  # The publisher leaves it out.
        known[field] = [f"{quantity} {joint}" for joint in chosen]
        header += known[field]
        columns += [*np.array(rows, float)[:, places].T]
    if "efforts" not in known or "positions" not in known:
        lacks = " and ".join({"positions", "efforts"} - known.keys())
        raise RobooptError(
            f"`path` must hold positions and efforts, but {topic} of {path} lacks "
            f"{lacks}."
        )
    named = ReadOptions(
        columns=options.columns or Columns("time_ns", **known),
        joints=chosen,
        time_step=options.time_step,
        estimated=options.estimated,
        notes=options.notes,
    )
    table = Table(str(path), tuple(header), dict(enumerate(columns)))
    yield from read_table(table, named)


def _joints(
    names: Sequence[str], options: ReadOptions, where: str
) -> dict[str, str] | None:
    """Return the names of messages by the robot's joints, None if they do not fit."""
    joints = names if options.joints is None else options.joints
    return recorded_names(names, joints, options.recorded_joints, where)


def _messages(path: Path) -> tuple[dict[Any, list[dict[str, Any]]], list[str]]:
    """Return the messages by topic and joints, and the names of all topics."""
    from rosbags.rosbag1 import Reader as Reader1
    from rosbags.rosbag2 import Reader as Reader2
    from rosbags.typesys import Stores, get_typestore

    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    first: dict[Any, tuple[str, ...]] = {}
    old = path.suffix == ".bag"
    # Not the definitions in the bag, of which rosbags makes Python code.
    types = get_typestore(Stores.ROS1_NOETIC if old else Stores.ROS2_HUMBLE)
    decode = types.deserialize_ros1 if old else types.deserialize_cdr
    check_files(path)
    with (Reader1 if old else Reader2)(path) as reader:
        check_size(reader, path)
        wanted = [c for c in reader.connections if c.msgtype in MESSAGES]
        for connection, arrival, raw in reader.messages(wanted) if wanted else ():
            message: Any = decode(raw, MESSAGES[0])
            stamp = message.header.stamp
            values = {q: np.asarray(getattr(message, q)) for q in QUANTITIES}
            joints = {name: k for k, name in enumerate(message.name)}
            # The order may differ between messages.
            names = first.setdefault(
                (connection.topic, frozenset(joints)), tuple(message.name)
            )
            order = [joints[name] for name in names]
            values = {
                q: value[order] if len(value) == len(order) else value
                for q, value in values.items()
            }
            found[connection.topic, names].append(
                {
                    **values,
                    "stamp": stamp.sec * 10**9 + stamp.nanosec,
                    "arrival": arrival,
                }
            )
        topics = sorted({f"{c.topic} ({c.msgtype})" for c in reader.connections})
    return found, topics
