"""Dynamics: a robot's equations of motion, its twin of PyBullet, and rollouts."""

from roboopt.dynamics._bullet import load_bullet
from roboopt.dynamics._constraints import PositionMotors
from roboopt.dynamics._ensemble import Ensemble
from roboopt.dynamics._gaussian import Gaussian
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._network_dynamics import (
    GaussianNetworkDynamics,
    NetworkDynamics,
)
from roboopt.dynamics._parametric_twin import ParametricTwin
from roboopt.dynamics._residual_dynamics import ResidualDynamics
from roboopt.dynamics._rollout import Rollout, faded
from roboopt.dynamics._scaled_network import ScaledNetwork
from roboopt.dynamics._twin import Twin, linearise
from roboopt.dynamics._urdf import load_urdf
from roboopt.dynamics._urdf_writer import write_urdf

__all__ = [
    "Ensemble",
    "Gaussian",
    "GaussianNetworkDynamics",
    "Multibody",
    "NetworkDynamics",
    "ParametricTwin",
    "PositionMotors",
    "ResidualDynamics",
    "Rollout",
    "ScaledNetwork",
    "Twin",
    "faded",
    "linearise",
    "load_bullet",
    "load_urdf",
    "write_urdf",
]
