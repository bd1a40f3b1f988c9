"""Dynamics: rigid bodies, the twin of PyBullet, URDF files, learned models."""

from roboopt.dynamics._bullet import BULLET_DAMPING as BULLET_DAMPING
from roboopt.dynamics._bullet import load_bullet as load_bullet
from roboopt.dynamics._bullet import load_env as load_env
from roboopt.dynamics._constraints import PositionMotors as PositionMotors
from roboopt.dynamics._ensemble import Ensemble as Ensemble
from roboopt.dynamics._friction import with_friction as with_friction
from roboopt.dynamics._gaussian_dynamics import Gaussian as Gaussian
from roboopt.dynamics._gaussian_dynamics import (
    GaussianNetworkDynamics as GaussianNetworkDynamics,
)
from roboopt.dynamics._held import Held as Held
from roboopt.dynamics._held import Path as Path
from roboopt.dynamics._held import first_memory as first_memory
from roboopt.dynamics._held import path as path
from roboopt.dynamics._linear_parameters import effort_matrix as effort_matrix
from roboopt.dynamics._linear_parameters import efforts_are_linear as efforts_are_linear
from roboopt.dynamics._linear_parameters import joint_numbers as joint_numbers
from roboopt.dynamics._linear_parameters import linear_parameters as linear_parameters
from roboopt.dynamics._mjcf import load_mjcf as load_mjcf
from roboopt.dynamics._multibody import Multibody as Multibody
from roboopt.dynamics._network_dynamics import NetworkDynamics as NetworkDynamics
from roboopt.dynamics._parameters import friction_law as friction_law
from roboopt.dynamics._parametric_twin import ParametricTwin as ParametricTwin
from roboopt.dynamics._randomized import Randomized as Randomized
from roboopt.dynamics._residual_dynamics import ResidualDynamics as ResidualDynamics
from roboopt.dynamics._rigid_bodies import (
    invert_positive_definite as invert_positive_definite,
)
from roboopt.dynamics._transitions import Transitions as Transitions
from roboopt.dynamics._twin import Twin as Twin
from roboopt.dynamics._twin import linearize as linearize
from roboopt.dynamics._urdf import load_urdf as load_urdf
from roboopt.dynamics._urdf import save_urdf as save_urdf
from roboopt.urdf.bullet_solver import constraint_row_order as constraint_row_order
from roboopt.urdf.drive import Drive as Drive
from roboopt.urdf.friction import FrictionLaw as FrictionLaw
