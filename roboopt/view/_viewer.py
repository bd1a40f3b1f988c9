"""A server that shows a robot and its motions in the browser, by viser.

Browsers on this machine alone reach the server: it listens on localhost.
"""

import atexit
import contextlib
import io
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._display import readable, shortened
from roboopt._errors import MissingPackage
from roboopt.view._camera import (
    DIRECTION,
    FREE,
    SHEET,
    SLIDERS,
    VIEW,
    at_rest,
    phone_camera,
    reachable,
)
from roboopt.view._motions import RobotMotions
from roboopt.view._scene import Scene

PORT = 8080
GRAY = "#7a7f87"
OPACITY = 0.35  # of a ghost
GREEN = (26, 166, 77)
SAME = 1e-3  # of the size: a ghost nearer than this is hidden
MARK_RADIUS = 0.02  # of a goal, over the radius of what is shown
MAX_FRAME_RATE = 30.0  # pictures a second
MAX_FRAMES = 600  # of a motion
PLOT_PERIOD_S = 0.2  # in which the plots show another time
MAX_PLOTS = 12  # joints
PLOT_ASPECT = 2.0
MAX_TITLE = 24  # characters of a joint's name above its plot
SPEEDS = ("0.1", "0.25", "0.5", "1", "2")
FOLDERS = {"Learning": 1000.0, "Joints": 2000.0}  # below the controls, in this order


class Viewer:
    """The robot of a scene in the browser, its motions, and the plots of its joints.

    A viewer is a context manager that ends its server.

    Attributes:
        server: the `viser.ViserServer`, to which more can be added.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        port: int = PORT,
        title: str = "roboopt",
        colors: Mapping[str, str] | None = None,
    ):
        """Begin to serve, on the next free port where `port` is taken.

        Args:
            scene: the robot.
            port: of localhost.
            title: above the controls.
            colors: by label, such as {"before": "#d9772b"}.

        Raises:
            MissingPackage: if viser is not installed.
        """
        try:
            import viser
        except ImportError as error:
            raise MissingPackage(
                "the viewer needs viser: pip install 'roboopt[view]'"
            ) from error
        self.scene, self._colors = scene, dict(colors or {})
        with contextlib.redirect_stdout(io.StringIO()):  # It prints its address.
            self.server = viser.ViserServer("localhost", port, title, verbose=False)
        for fault in scene.faults:
            self.server.gui.add_markdown(f"**Note:** {_plain(fault)}")
        self._robots: dict[str, list[Any]] = {}
        self._boxes: dict[str, Any] = {}
        self._motions: RobotMotions | None = None
        self._curves: dict[str, Any] = {}
        self._folders: dict[str, Any] = {}
        self._lock, self._over = threading.RLock(), threading.Event()
        self._player = threading.Thread(target=self._play, daemon=True)
        self.server.on_client_connect(self._frame_phone)
        atexit.register(self.close)  # before viser's own end, which is not quiet
        self._sheet = SHEET
        self._size = self._frame_camera(reachable(scene))

    @property
    def address(self) -> str:
        """Return the address for the browser."""
        return f"http://localhost:{self.server.get_port()}"

    def close(self) -> None:
        """End the server; closing twice is fine."""
        if not self._over.is_set():
            self._over.set()
            atexit.unregister(self.close)
            if self._player.is_alive():
                self._player.join()  # It may be drawing.
            with contextlib.redirect_stdout(io.StringIO()):
                self.server.stop()

    def __enter__(self) -> "Viewer":
        """Return the viewer."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the server."""
        self.close()

    def place(self, label: str, q: Float[np.ndarray, " joint"]) -> None:
        """Put the robot of a label at a configuration [rad or m]."""
        (poses,) = self.scene.poses(np.asarray(q, float)[None])
        self._move(label, poses)

    def add_sliders(self) -> None:
        """Add the robot with a slider for each joint, between the joint's limits."""
        robot, q = self.scene.robot, at_rest(self.scene)
        lower, upper = np.asarray(robot.lower), np.asarray(robot.upper)
        self._sheet = min(SHEET, SLIDERS[0] + SLIDERS[1] * len(q))

        def moved(_: Any) -> None:
            self.place("robot", np.array([each.value for each in sliders]))

        with self.server.gui.add_folder("Joints"):
            sliders = []
            for k, name in enumerate(robot.joint_names):
                wide = FREE[robot.revolute[k]]
                ends = (lower[k], upper[k]) if robot.limited[k] else (-wide, wide)
                low, high = map(float, ends)
                unit = "rad" if robot.revolute[k] else "m"
                slider = self.server.gui.add_slider(
                    f"{name} [{unit}]", low, high, (high - low) / 1000, float(q[k])
                )
                slider.on_update(moved)
                sliders.append(slider)
        moved(None)

    def show(self, motions: RobotMotions) -> None:
        """Show motions, with the controls of time and start, and the joints' plots.

        Called again, the motions are replaced: start and time stay.
        """
        with self._lock:
            first, self._motions = self._motions is None, motions
            self._times, self._sampled = motions.sampled(MAX_FRAME_RATE, MAX_FRAMES)
            self._poses: dict[tuple[str, int], np.ndarray] = {}
            if first:
                moved = np.concatenate([*map(np.concatenate, self._sampled.values())])
                goals = [motions.goal(start) for start in range(motions.starts)]
                corners = self.scene.corners(self.scene.poses(moved))
                self._size = self._frame_camera(np.concatenate([corners, *goals]))
                self._add_controls(motions)
                self._player.start()
            self._draw_start()

    def show_curves(self, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Show quantities over the steps of a descent; those shown before are replaced.

        Args:
            curves: by name, the steps and values.
        """
        import viser.uplot as uplot

        for name, points in curves.items():
            steps, values = np.array(points, float).reshape(-1, 2).T
            if (plot := self._curves.get(name)) is not None:
                plot.data = steps, values
                continue
            title = readable(name)
            line = uplot.Series(label=title, stroke=self._color("after"), width=2)
            with self._folder("Learning"):
                self._curves[name] = self.server.gui.add_uplot(
                    (steps, values),
                    (uplot.Series(label="step"), line),
                    title=title,
                    scales=_scales(),
                    aspect=PLOT_ASPECT,
                )

    @property
    def _chosen(self) -> int:
        return self._start.options.index(self._start.value)

    def _folder(self, name: str) -> Any:
        if name not in self._folders:
            self._folders[name] = self.server.gui.add_folder(name, order=FOLDERS[name])
        return self._folders[name]

    def _color(self, label: str) -> str:
        return self._colors.get(label, GRAY)

    def _frame_camera(self, shown: Float[np.ndarray, "point 3"]) -> float:
        """Place camera and floor so that points are seen; return their radius [m]."""
        self._shown = shown
        low, high = shown.min(0), shown.max(0)
        center, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        self.server.scene.add_grid(
            "/floor",
            4 * radius,
            4 * radius,
            cell_size=radius / 5,
            position=(center[0], center[1], 0.0),
        )
        camera = self.server.initial_camera
        camera.position = center + VIEW * radius * DIRECTION
        camera.look_at = center
        return radius

    def _frame_phone(self, client: Any) -> None:
        """Move a phone's camera so that the robot fills what the controls leave."""
        camera, center = client.camera, np.asarray(self.server.initial_camera.look_at)
        if camera.aspect < 1:
            eye, seen = phone_camera(
                self._shown - center, camera.aspect, camera.fov, self._sheet
            )
            camera.position, camera.look_at = center + eye, center + seen

    def _robot(self, label: str) -> list[Any]:
        """Return the frames of a label's robot, the world's first, made where needed.

        The robot of the last label has the colors of its URDF, others are ghosts.
        """
        if label in self._robots:
            return self._robots[label]
        scene, api = self.scene, self.server.scene
        labels = [label] if self._motions is None else list(self._motions.runs)
        ghost = label != labels[-1]
        root = api.add_frame(f"/{label}", show_axes=False)
        joints = [
            api.add_frame(f"/{label}/joint_{k}", show_axes=False)
            for k in range(len(scene.robot.parents))
        ]
        frames = [root, *joints]
        for number, (joint, part) in enumerate(
            zip(scene.joints, scene.parts, strict=True)
        ):
            if ghost and joint < 0:
                continue
            rgb = [round(255 * x) for x in part.color[:3]]
            if ghost:
                rgb = [int(self._color(label)[k : k + 2], 16) for k in (1, 3, 5)]
            opacity = OPACITY if ghost else part.color[3]
            api.add_mesh_simple(
                f"{frames[joint + 1].name}/part_{number}",
                np.asarray(part.vertices, np.float32),
                np.asarray(part.faces, np.uint32),
                color=(rgb[0], rgb[1], rgb[2]),
                opacity=None if opacity == 1 else opacity,
                flat_shading=True,
                side="double",
                cast_shadow=not ghost,
            )
        return self._robots.setdefault(label, frames)

    def _move(self, label: str, poses: np.ndarray) -> None:
        with self.server.atomic():
            for frame, pose in zip(self._robot(label)[1:], poses, strict=True):
                frame.position, frame.wxyz = pose[:3], pose[[6, 3, 4, 5]]

    def _add_controls(self, motions: RobotMotions) -> None:
        gui = self.server.gui
        names = [motions.name(k) for k in range(motions.starts)]
        self._start = gui.add_dropdown("start", names, visible=len(names) > 1)
        self._time = gui.add_slider("time [s]", 0.0, float(self._times[-1]), 0.001, 0.0)
        self._playing = gui.add_checkbox("play", True)
        self._speed = gui.add_dropdown("speed", SPEEDS, initial_value="1")
        for label in motions.runs:
            box = self._boxes[label] = gui.add_checkbox(label, True)
            box.on_update(lambda _: self._show_chosen())
        self._start.on_update(lambda _: self._draw_start())
        self._time.on_update(lambda _: self._draw_time())

    def _show_chosen(self) -> None:
        for label, box in self._boxes.items():
            self._robot(label)[0].visible = box.value

    def _draw_start(self) -> None:
        """Draw what belongs to the chosen start: the goal and the plots."""
        with self._lock:
            assert self._motions is not None
            goal = self._motions.goal(self._chosen)
            if len(goal) == 1:
                radius = MARK_RADIUS * self._size
                ball = self.server.scene.add_icosphere("/goal", radius, GREEN)
                ball.position = goal[0]
            elif len(goal):
                pairs = np.stack([goal[:-1], goal[1:]], axis=1)
                self.server.scene.add_line_segments(
                    "/goal", pairs, GREEN, thickness=MARK_RADIUS * self._size / 4
                )
            self._draw_time()
            self._draw_plots()

    def _draw_time(self) -> None:
        with self._lock:
            now = int(np.abs(self._times - self._time.value).argmin())
            start = self._chosen
            for label, runs in self._sampled.items():
                key = label, start
                if key not in self._poses:
                    self._poses[key] = self.scene.poses(runs[start])
                self._move(label, self._poses[key][now])
            self._hide_equal(
                [self._poses[label, start][now] for label in self._sampled]
            )

    def _hide_equal(self, poses: Sequence[np.ndarray]) -> None:
        """Hide the links of ghosts that coincide with the robot's, where both shine."""
        *ghosts, solid = poses
        for label, own in zip(self._sampled, ghosts, strict=False):
            apart = np.linalg.norm(own[:, :3] - solid[:, :3], axis=1)
            turned = 1 - np.abs(np.sum(own[:, 3:] * solid[:, 3:], axis=1))
            seen = (apart > SAME * self._size) | (turned > SAME**2 / 8)
            for frame, visible in zip(self._robot(label)[1:], seen, strict=True):
                if frame.visible != visible:
                    frame.visible = bool(visible)

    def _draw_plots(self) -> None:
        """Draw the joints over time, with a line at the time that is shown."""
        import viser.uplot as uplot

        with self._lock:
            robot, start = self.scene.robot, self._chosen
            titles = shortened(robot.joint_names, MAX_TITLE)
            now = int(np.abs(self._times - self._time.value).argmin())
            for k, name in enumerate(robot.joint_names[:MAX_PLOTS]):
                rows = [runs[start][:, k] for runs in self._sampled.values()]
                # Under the last curve, which it leaves for an upright line: a plot
                # has no other.
                seen = np.insert(np.arange(len(self._times)), now, [now] * 3)
                hand = rows[-1][seen]
                hand[now + 1 : now + 3] = np.min(rows), np.max(rows)
                data = (self._times[seen], hand, *(row[seen] for row in rows))
                if (plot := self._curves.get(f"joint {name}")) is not None:
                    plot.data = data
                    continue
                unit = "rad" if robot.revolute[k] else "m"
                dashed: Any = {"stroke": GRAY, "width": 2, "dash": (5, 4)}
                series = [uplot.Series(label="time [s]")]
                series.append(uplot.Series(label="now", **dashed))
                for label in self._sampled:
                    color = self._color(label)
                    series.append(uplot.Series(label=label, stroke=color, width=2))
                with self._folder("Joints"):
                    self._curves[f"joint {name}"] = self.server.gui.add_uplot(
                        data,
                        tuple(series),
                        title=f"{titles[k]} [{unit}]",
                        scales=_scales(),
                        aspect=PLOT_ASPECT,
                    )

    def _play(self) -> None:
        """Let the time run while play is chosen, until the viewer is closed."""
        last = drawn = time.monotonic()
        while not self._over.wait(1 / MAX_FRAME_RATE):
            now = time.monotonic()
            passed, last = now - last, now
            if self._playing.value and self.server.get_clients():
                end = float(self._times[-1])
                later = self._time.value + passed * float(self._speed.value)
                self._time.value = later if self._time.value < end else 0.0
            if now - drawn > PLOT_PERIOD_S:
                drawn = now
                self._draw_plots()


def _plain(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return re.sub(r"([\\*_<>\[\]&#~])", r"\\\1", text)


def _scales() -> dict[str, Any]:
    import viser.uplot as uplot

    return {"x": uplot.Scale(time=False), "y": uplot.Scale(auto=True)}
