"""The tree of links and joints: one root, no loop, joints depth first."""

from collections import Counter

from roboopt.urdf._model import Joint
from roboopt.urdf._notes import Fault


def find_root(links: tuple[str, ...], joints: list[Joint]) -> str:
    """Return the root, having checked that the links form a tree."""
    if not links:
        raise Fault("the robot must have at least one <link>, got none.")
    for joint in joints:
        for end, link in (("parent", joint.parent), ("child", joint.child)):
            if link not in links:
                raise Fault(
                    f"`{end}` of joint {joint.name!r} must be one of the links "
                    f"{links}, got {link!r}."
                )
    children = Counter(joint.child for joint in joints)
    repeated = [link for link, count in children.items() if count > 1]
    if repeated:
        raise Fault(
            "every link must be the child of one joint at most, got more for "
            f"{repeated}."
        )
    roots = [link for link in links if link not in children]
    if len(roots) > 1:
        raise Fault(f"the links must have one root, got {len(roots)}: {roots}.")
    reached = set(roots)
    while new := {j.child for j in joints if j.parent in reached} - reached:
        reached |= new
    if len(reached) < len(links) or not roots:
        loop = [link for link in links if link not in reached]
        raise Fault(f"the links must form a tree, got a loop of {loop}.")
    return roots[0]


def depth_first(root: str, joints: list[Joint]) -> list[Joint]:
    """Return the joints depth first, siblings in the order given."""
    ordered: list[Joint] = []
    waiting = [joint for joint in reversed(joints) if joint.parent == root]
    while waiting:
        ordered.append(waiting.pop())
        child = ordered[-1].child
        waiting += [joint for joint in reversed(joints) if joint.parent == child]
    return ordered
