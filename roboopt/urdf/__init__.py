"""URDF files in plain NumPy: reader, checks, kinematic tree, writer."""

from roboopt.urdf._model import FIXED as FIXED
from roboopt.urdf._model import PRISMATIC as PRISMATIC
from roboopt.urdf._model import Inertial as Inertial
from roboopt.urdf._model import Joint as Joint
from roboopt.urdf._model import Mimic as Mimic
from roboopt.urdf._model import Pose as Pose
from roboopt.urdf._model import UrdfModel as UrdfModel
from roboopt.urdf._principal_axes import principal_axes as principal_axes
from roboopt.urdf._reader import read_urdf as read_urdf
from roboopt.urdf._rotations import rotation_from_quaternion as rotation_from_quaternion
from roboopt.urdf._rotations import rotation_from_rpy as rotation_from_rpy
from roboopt.urdf._rotations import rpy_from_rotation as rpy_from_rotation
from roboopt.urdf._writer import edit_urdf as edit_urdf
