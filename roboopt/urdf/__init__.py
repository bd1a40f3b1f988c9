"""URDF files in plain NumPy: reader, checks, kinematic tree, writer."""

from roboopt.urdf._bullet_file import bullet_urdf as bullet_urdf
from roboopt.urdf._bullet_file import reach as reach
from roboopt.urdf._bullet_file import without_frames as without_frames
from roboopt.urdf._dynamics import EARTH_GRAVITY as EARTH_GRAVITY
from roboopt.urdf._dynamics import RigidBodies as RigidBodies
from roboopt.urdf._dynamics import gravity_effort as gravity_effort
from roboopt.urdf._dynamics import mass_matrix as mass_matrix
from roboopt.urdf._meshes import find_meshes as find_meshes
from roboopt.urdf._meshes import written_meshes as written_meshes
from roboopt.urdf._model import FIXED as FIXED
from roboopt.urdf._model import FRICTION_VELOCITY as FRICTION_VELOCITY
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
from roboopt.urdf._shapes import unusable_shapes as unusable_shapes
from roboopt.urdf._side_file import SideFile as SideFile
from roboopt.urdf._side_file import side_path as side_path
from roboopt.urdf._writer import edit_urdf as edit_urdf
