"""Dynamics: a robot's equations of motion, its twin of PyBullet, and rollouts."""

from roboopt.dynamics._bullet import load_bullet
from roboopt.dynamics._constraints import PositionMotors
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._rollout import Rollout
from roboopt.dynamics._twin import Twin, linearise
from roboopt.dynamics._urdf import load_urdf

__all__ = [
    "Multibody",
    "PositionMotors",
    "Rollout",
    "Twin",
    "linearise",
    "load_bullet",
    "load_urdf",
]
