"""Robots in 3D: their shapes and poses, and the viewer in the browser."""

from roboopt.view._motions import RobotMotions as RobotMotions
from roboopt.view._scene import Scene as Scene
from roboopt.view._scene import env_scene as env_scene
from roboopt.view._scene import scene_or_none as scene_or_none
from roboopt.view._triangles import Triangles as Triangles
from roboopt.view._triangles import triangles as triangles
from roboopt.view._viewer import Viewer as Viewer
from roboopt.view._watch import WATCHED as WATCHED
from roboopt.view._watch import Watch as Watch
