"""`roboopt view`: show a run's robot, or that of a URDF, in the browser."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from roboopt._errors import RobooptError
from roboopt.cli._flag_names import name_flag
from roboopt.cli._flags import flag
from roboopt.cli._results import load_shown
from roboopt.cli._simulation import package_folder

POLL_S = 0.1
PORT = 8080
ROBOT_FILES = (".urdf", ".xacro")


@dataclass(frozen=True)
class View:
    """Show the motions of a run, or the robot of a URDF, in the browser.

    The command serves a page on this machine, prints its address, and ends by Ctrl-C.
    The page shows the robot as the run left it and, as a ghost, before, with the goal,
    the time, and a plot of each joint; of a URDF a slider for each joint. Nothing is
    simulated: a run holds its motions and its robot.
    """

    path: Path = flag(
        dataclasses.MISSING, "Folder of a run, or a URDF.", shown="RUN", positional=True
    )
    port: int | None = flag(
        None, "Port on localhost.", f"{PORT}, or the next one that is free"
    )
    package: tuple[str, ...] = flag(
        (),
        "Folders of ROS packages, for meshes of a URDF.",
        "searched for around the URDF",
        shown="NAME=PATH",
    )

    serves: ClassVar = True  # It says that it works once, and then waits.

    def run(self) -> int:
        """Serve until a signal comes; return the exit code."""
        from roboopt._interrupt import ending, exit_code
        from roboopt.cli._process import jax_settings

        if self.port is not None and not 1 <= self.port < 2**16:
            raise RobooptError(f"`port` must be from 1 to 65535, got {self.port}.")
        with jax_settings(), self._viewer() as viewer:
            if self.port not in (None, viewer.server.get_port()):
                raise RobooptError(f"`port` must be free, got {self.port}.")
            print(f"{viewer.address} shows {self.path}; Ctrl-C ends the command.")
            while not ending():
                time.sleep(POLL_S)
            return exit_code()

    def _viewer(self) -> Any:
        from roboopt.report import COLORS
        from roboopt.view import Scene, Viewer

        port = self.port or PORT
        if self.path.suffix.lower() in ROBOT_FILES:
            packages = dict(map(package_folder, self.package))
            scene = Scene.of_urdf(self.path, packages=packages)
            faults = tuple(name_flag(fault, self) for fault in scene.faults)
            scene = dataclasses.replace(scene, faults=faults)
            viewer = Viewer(scene, port=port, title=self.path.stem)
            viewer.add_sliders()
            return viewer
        result, _ = load_shown(self.path, "path")  # Nothing of it is called.
        motions = getattr(result, "robot_motions", lambda: None)()
        if motions is None:
            raise RobooptError(
                f"`path` must be a run that holds the motions of a robot, got "
                f"{self.path}: its environment has no robot to show, or was not tested."
            )
        colors = {**COLORS, **motions.colors}
        title = self.path.resolve().name
        viewer = Viewer(motions.scene, port=port, title=title, colors=colors)
        viewer.show(motions)
        return viewer
