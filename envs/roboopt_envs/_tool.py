"""The point of a robot that is its tool: a link, by name and by what moves it.

A gripper's fingers move behind the arm, and cameras and frames of the maker are often
the deepest links of the tree: neither is what an arm reaches with.
"""

import re

from roboopt._errors import require
from roboopt.urdf import UrdfModel

NAMES = (
    r"tool_?0",
    r"tcp",
    r"flange",
    r"(ee|eef|end_?effector)(_?link)?",
    r"grasp_?target|grasp(ing)?_?(frame|link|point|cent(er|re))"
    r"|tool(_?(frame|link|tip|point))?",
    r"hand(_?link)?",
    r"palm(_?link)?",
)
"""Names of tools, the best first; a robot's own prefix may stand before them."""
PATTERNS = [re.compile(rf"(.*[_\-./])?({name})", re.IGNORECASE) for name in NAMES]
FINGER = re.compile(r"finger|thumb|jaw|claw|knuckle", re.IGNORECASE)
GRIPPER = re.compile(r"grip", re.IGNORECASE)
SENSOR = re.compile(
    r"cam(era)?\b|camera|optical|sensor|lidar|laser|imu|depth|rgb"
    r"|aruco|april_?tag|marker",
    re.I,
)


def find_tool(model: UrdfModel) -> str:
    """Return the tool's link: behind the most moving joints, fingers left out.

    Links on the moving joints of the longest chain count, those with the name of a tool
    first, then links of such a name on chains of more than half its length, and then
    the deepest link of the longest chain, the last of several, that is no sensor.
    """
    chains = {name: model.chain(name) for name in model.link_names}
    fingers = _fingers(model, chains)
    arms = {
        name: chain for name, chain in chains.items() if not fingers.intersection(chain)
    }
    if not any(arms.values()):
        arms = chains
    longest = max(arms.values(), key=len)
    depths = {model.root: 0}
    for joint in model.joints:
        depths[joint.child] = depths[joint.parent] + 1

    def rank(name: str) -> tuple[int, int]:
        """Return how many joints move a tool, and how good its name is."""
        return len(arms[name]), -_preference(name)

    named = [
        name
        for name, chain in arms.items()
        if _preference(name) < len(PATTERNS) and 2 * len(chain) > len(longest)
    ]
    if named:
        along = [name for name in named if arms[name] == longest[: len(arms[name])]]
        return max(along or named, key=rank)
    last = [name for name, chain in arms.items() if chain == longest]
    seen = [name for name in last if not SENSOR.search(name)] or last
    palms = [name for name in seen if not FINGER.search(name)] or seen
    return max(reversed(palms), key=depths.__getitem__)


def tool_point(tool: str, offset: tuple[float, ...]) -> str:
    """Return in words where the tool is."""
    if not any(offset):
        return f"the origin of link {tool}"
    place = ", ".join(f"{x:g}" for x in offset)
    return f"the point ({place}) m of link {tool}"


def tool_choice(model: UrdfModel, tool: str, *, told: bool) -> str:
    """Return why a link is the tool, and how many joints move it."""
    reason = "the last link of the longest chain"
    if _preference(tool) < len(PATTERNS):
        reason = "by its name"
    moving = model.moving
    leaders = [j.name if j.mimic is None else j.mimic.joint for j in moving]
    chain = {leaders[joint] for joint in model.chain(tool)}
    movers = f"moved by {len(chain)} of {len({*leaders})} joints"
    return f"{'as told' if told else reason}, {movers}"


def checked_tool(model: UrdfModel, tool: str) -> str:
    """Return the name of a link that can be the tool."""
    links = model.link_names[1:]
    require(tool in links, "tool", f"be a link, one of {list(links)}", tool)
    require(model.chain(tool), "tool", "be on a moving link", tool)
    return tool


def _preference(name: str) -> int:
    """Return the place of a link's name in `NAMES`, their number for another name."""
    found = (i for i, pattern in enumerate(PATTERNS) if pattern.fullmatch(name))
    return next(found, len(PATTERNS))


def _fingers(model: UrdfModel, chains: dict[str, tuple[int, ...]]) -> set[int]:
    """Return the moving joints of fingers.

    Fingers are joints that follow each other on branches of equal length on one link,
    at most two joints with a finger's name behind joints of another name, the last
    joint if it is a gripper's, and siblings behind at least two joints, two or more of
    at most two joints each, or three or more of fewer joints than are before them.
    Joints that a linkage couples along the arm are no fingers.
    """
    moving = model.moving
    parents = [pose.joint for pose in model.joint_poses]
    behind = {
        joint: max(len(c) - c.index(joint) for c in chains.values() if joint in c)
        for joint in range(len(moving))
    }
    leaders = [j.name if j.mimic is None else j.mimic.joint for j in moving]
    names = [FINGER.search(f"{joint.name} {joint.child}") for joint in moving]
    lineage = [chains[joint.child] for joint in moving]
    before = [len(chain) - 1 for chain in lineage]
    fingers = set()
    for number, joint in enumerate(moving):
        siblings = [j for j, parent in enumerate(parents) if parent == parents[number]]
        twins = [j for j in siblings if j != number and behind[j] == behind[number]]
        several = len(siblings) > 1 and all(behind[j] <= 2 for j in siblings)
        deep = parents[number] >= 0 and parents[parents[number]] >= 0
        hand = len(siblings) > 2 and all(behind[j] < before[number] for j in siblings)
        named = names[number] and not all(names[j] for j in lineage[number])
        if (
            any(leaders[j] == leaders[number] for j in twins)
            or ((several or hand) and deep)
            or (named and behind[number] <= 2)
            or (GRIPPER.search(joint.name) and behind[number] == 1)
        ):
            fingers.add(number)
    return fingers
