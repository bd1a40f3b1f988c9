"""What is to be known of a simulated robot before its numbers are read."""

from typing import Any


def robot_notes(env: Any) -> dict[str, str]:
    """Return which point is a robot's tool and why, and which joints are driven.

    The motors are left out where every joint is driven, unless the robot is to balance;
    an environment that knows no tool or no joints has no such note. Joints that are
    locked are named, too, and so is the joint that needs longer than an episode. Where
    upright is, is said of robots that balance, or whose task is to be there.

    Args:
        env: an environment, with any wrappers, or another object with the names of the
            joints as `joint_names` and the numbers of the driven ones as `actuated`.
    """
    inner = getattr(env, "unwrapped", env)
    notes = {}
    if tool := getattr(inner, "tool", None):
        point = getattr(inner, "tool_point", f"link {tool}")
        notes["tool"] = f"{point.removeprefix('the ')}, {inner.tool_choice}"
    if too_short := getattr(inner, "too_short", ""):
        notes["duration"] = too_short
    names, actuated = (getattr(inner, n, None) for n in ("joint_names", "actuated"))
    if names is None or actuated is None:
        return notes
    driven = ", ".join(names[joint] for joint in actuated)
    passive = [name for joint, name in enumerate(names) if joint not in set(actuated)]
    if passive:
        notes["motors"] = f"drive {driven or 'no joint'}; passive: {', '.join(passive)}"
    elif hasattr(inner, "upright"):
        notes["motors"] = f"drive every joint: {driven}"
    if locked := getattr(inner, "locked", ()):
        notes["locked"] = ", ".join(locked)
    target = getattr(getattr(inner, "task", None), "target", ())
    if hasattr(inner, "upright") and (passive or tuple(target) == (*inner.upright,)):
        pairs = zip(names, inner.upright, strict=True)
        held = ", ".join(f"{name} {position:.4g}" for name, position in pairs)
        notes["upright"] = f"{held} [rad or m]"
    return notes
