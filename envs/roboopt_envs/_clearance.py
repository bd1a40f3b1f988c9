"""Configurations of a robot that touch neither the floor nor the robot itself.

The floor is at the lowest point of the shapes on the fixed base; a base without shapes
has no floor. Bullet answers for shapes by their closest points. Two links that moving
joints connect directly do not count, and neither do links that touch in nearly every
configuration: their shapes overlap by design.
"""

import warnings
from itertools import combinations

import numpy as np

from ._silence import import_pybullet_silently
from ._world import PybulletWorld

import_pybullet_silently()

import pybullet  # noqa: E402

TOUCH = 1e-6  # m between two shapes; at 0, Bullet's boxes never touch
ALWAYS = 0.9  # of the samples: links that touch so often overlap by design
RARELY = 0.05  # of the samples: shapes that leave less free are not used


class Clearance:
    """The floor, and the pairs of links that must not touch."""

    def __init__(self, world: PybulletWorld, configurations: np.ndarray):
        """Find out which links touch by the samples `configurations` (k, n)."""
        self._world = world
        model, client = world.model, world.client
        carriers = [model.link_poses[joint.child].joint for joint in model.joints]
        shaped = [
            link
            for link in (-1, *range(len(carriers)))
            if client.getCollisionShapeData(world.body, link)
        ]
        self._pairs: list[tuple[int, int]] = []
        self._near_floor: list[int] = []
        if not shaped:
            return
        base = [link for link in shaped if link < 0 or carriers[link] < 0]
        low = [client.getAABB(world.body, link)[0][2] for link in base]
        self._height = min(low, default=-np.inf)
        parents = [pose.joint for pose in model.joint_poses]
        neighbors = {(-1, -1)} | {
            pair
            for joint, parent in enumerate(parents)
            for pair in ((joint, joint), (joint, parent), (parent, joint))
        }
        carrier = {link: -1 if link < 0 else carriers[link] for link in shaped}
        self._pairs = [
            (a, b)
            for a, b in combinations(shaped, 2)
            if (carrier[a], carrier[b]) not in neighbors
        ]
        moving = [link for link in shaped if carrier[link] >= 0]
        if low:
            self._near_floor = moving
            # A shape without a body: nothing collides with it.
            self._plane = client.createCollisionShape(pybullet.GEOM_PLANE)
        if len(configurations):
            self._leave_out(configurations)

    def _leave_out(self, configurations: np.ndarray) -> None:
        """Leave out what touches in nearly every configuration."""
        with self._world.elsewhere():
            pairs, floors = [], []
            for q in configurations:
                self._world.move(q)
                pairs.append([self._touch(*pair) for pair in self._pairs])
                floors.append([self._is_low(link) for link in self._near_floor])
        touching = np.array(pairs, bool).reshape(len(pairs), -1)
        low = np.array(floors, bool).reshape(len(pairs), -1)
        pair, link = touching.mean(axis=0) < ALWAYS, low.mean(axis=0) < ALWAYS
        self._pairs = [p for p, kept in zip(self._pairs, pair, strict=True) if kept]
        links = zip(self._near_floor, link, strict=True)
        self._near_floor = [number for number, kept in links if kept]
        blocked = touching[:, pair].any(axis=1) | low[:, link].any(axis=1)
        if blocked.mean() > 1 - RARELY:
            warnings.warn(
                "the shapes of the robot touch each other or the floor in nearly every "
                "configuration: starts and goals are drawn without regard to them.",
                stacklevel=2,
            )
            self._pairs, self._near_floor = [], []

    def is_free(self, q: np.ndarray) -> bool:
        """Return whether the configuration `q` touches nothing."""
        if not self._pairs and not self._near_floor:
            return True
        with self._world.elsewhere():
            self._world.move(q)
            return not (
                any(self._is_low(link) for link in self._near_floor)
                or any(self._touch(*pair) for pair in self._pairs)
            )

    def _touch(self, a: int, b: int) -> bool:
        body = self._world.body
        return bool(self._world.client.getClosestPoints(body, body, TOUCH, a, b))

    def _is_low(self, link: int) -> bool:
        return bool(
            self._world.client.getClosestPoints(
                bodyA=self._world.body,
                bodyB=-1,
                distance=TOUCH,
                linkIndexA=link,
                collisionShapeB=self._plane,
                collisionShapePositionB=[0.0, 0.0, self._height],
            )
        )
