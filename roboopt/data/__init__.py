"""Data: trajectories, how they are recorded, and how things learned are kept."""

from roboopt.data._collect import collect
from roboopt.data._files import whole_file
from roboopt.data._store import load, save
from roboopt.data._trajectory import Trajectory

__all__ = ["Trajectory", "collect", "load", "save", "whole_file"]
