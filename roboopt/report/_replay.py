"""A replay of a robot in 3D, which the browser draws from the page alone.

All numbers are 16-bit integers in base64: corners of triangles in parts of the largest
coordinate, 0.03 mm on a robot of 1 m, and the joints' frames as 3 × 4 matrices.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from roboopt.report._figures import COLORS, GRAY
from roboopt.report._page import Section, marked
from roboopt.urdf import rotation_from_quaternion
from roboopt.view import RobotMotions

MAX_FRAME_RATE = 30.0  # pictures a second
MAX_FRAMES = 240  # of a motion
MAX_STARTS = 9
MAX_BYTES = 400_000  # of all motions
MAX_POINTS = 200  # of a path
BALL_RADIUS = 0.04  # of a goal, over the radius of what moves
LINE_STRIP, TRIANGLES = 3, 4  # of WebGL
OPACITY = 0.4  # of a ghost
VIEW = 2.3  # distance of the eye over the radius of what moves
GRID_LINES = 11
STEPS = 32767  # of a number from 0 to 1


@dataclass(frozen=True)
class Replay:
    """A robot's motions in 3D, which the page's script draws by WebGL.

    The replay follows the time of the page's video.
    """

    motions: RobotMotions
    caption: str = ""

    def html(self) -> str:
        """Return the replay with its controls."""
        motions, scene = self.motions, self.motions.scene
        times, sampled = motions.sampled(MAX_FRAME_RATE, MAX_FRAMES)
        labels, frames = list(sampled), len(times)
        joints = len(scene.robot.parents) + 1
        room = MAX_BYTES // (2 * 12 * joints * frames * len(labels))
        starts = min(motions.starts, MAX_STARTS, max(1, room))
        poses = np.zeros((len(labels), starts, frames, joints, 4, 3))
        poses[..., 0, :3, :] = np.eye(3)
        goals = [_thinned(motions.goal(start)) for start in range(starts)]
        shown = [*goals]
        for own, runs in zip(poses, sampled.values(), strict=True):
            flat = scene.poses(np.concatenate(list(runs[:starts])))
            shown.append(scene.corners(flat))
            turns = rotation_from_quaternion(flat[..., 3:]).swapaxes(-1, -2)
            shape = starts, frames, joints - 1
            own[..., 1:, :3, :] = turns.reshape(*shape, 3, 3)
            own[..., 1:, 3, :] = flat[..., :3].reshape(*shape, 3)
        corners = np.concatenate(shown)
        low, high = corners.min(0), corners.max(0)
        center, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        # The browser's origin is the center; its unit is longer than any coordinate.
        poses[..., 3, :] -= center
        most = max(np.abs(center).max(), np.abs(poses[..., 3, :]).max())
        unit = float(most) + 1.5 * radius
        poses[..., 3, :] /= unit
        scale = max(float(np.abs(x.vertices).max()) for x in scene.parts)
        vertices = [part.vertices / scale for part in scene.parts]
        faces, parts, first, used = [], [], 0, 0
        for joint, part in zip(scene.joints, scene.parts, strict=True):
            faces.append(part.faces + first)
            parts.append([joint + 1, [*part.color], used, part.faces.size])
            first, used = first + len(part.vertices), used + part.faces.size
        grid = _grid(center, float((high - low)[:2].max()) / 2) / unit
        modes = [TRIANGLES if len(x) == 1 else LINE_STRIP for x in goals]
        ball = BALL_RADIUS * radius * _ball()
        goals = [x + ball if len(x) == 1 else x for x in goals]
        spots = np.cumsum([first + len(grid), *map(len, goals)]).tolist()
        vertices += [grid, *(points / unit for points in goals)]
        data = {
            "buffers": [_int16(np.concatenate(vertices)), _uint16(faces)],
            "poses": _int16(poses),
            "scale": scale / unit,
            "unit": unit,
            "distance": VIEW * radius / unit,
            "parts": parts,
            "ghosts": [_rgba(self._color(name)) for name in labels[:-1]],
            "grid": [first, len(grid)],
            "goals": [*zip(modes, spots[:-1], map(len, goals), strict=True)],
            "starts": starts,
            "frames": frames,
            "joints": joints,
            "rate": 1 / times[1],
            "duration": times[-1],
        }
        return self._page(data)

    def _color(self, label: str) -> str:
        return {**COLORS, **self.motions.colors}.get(label, GRAY)

    def _page(self, data: dict[str, object]) -> str:
        keys = ""
        for name in self.motions.runs:
            style = f"accent-color:{self._color(name)}"
            box = f'<input type="checkbox" checked style="{style}">'
            keys += f"<label>{box} {escape(name)}</label>"
        options = "".join(
            f'<option value="{k}">{escape(self.motions.name(k))}</option>'
            for k in range(int(str(data["starts"])))
        )
        text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
        hidden = " hidden" * (data["starts"] == 1)
        caption = f"<figcaption>{marked(self.caption)}</figcaption>"
        return (
            '<figure class="replay"><noscript><p>The replay needs JavaScript, which '
            "is off in this browser.</p><style>canvas, .bar { display: none }</style>"
            "</noscript>"
            '<canvas tabindex="0" role="img" aria-label="The robot in 3D. Arrow keys '
            'turn the view."></canvas><div class="bar">'
            '<button type="button">Play</button><input class="time" type="range" '
            f'aria-label="time" min="0" max="{data["duration"]}" step="any" value="0">'
            f'<output></output>{keys}<select aria-label="start"{hidden}>{options}'
            f'</select></div><script type="application/json">{text}</script>'
            f"{caption}</figure>"
        )


def replay_section(motions: RobotMotions | None, said: str) -> Section | None:
    """Return the section of a replay, None without motions or shapes to show.

    Args:
        motions: such as a result's `robot_motions()`.
        said: the beginning of the caption.
    """
    if motions is None or not motions.scene.parts:
        return None
    goal = " The goal is green." if motions.has_goals else ""
    if goal and (point := motions.scene.tool_point):
        goal = f" Green is where {point} has to be; `tool` and `tool_offset` set "
        goal += "another point."
    faults = "".join(f" {fault}" for fault in motions.scene.faults)
    caption = f"{said}{goal} Drag to turn the view.{faults}"
    return Section("Replay in 3D", [Replay(motions, caption)])


def _grid(center: np.ndarray, half: float) -> np.ndarray:
    """Return the ends of the lines of a grid on the floor, (k, 3) [m]."""
    ticks = np.linspace(-half, half, GRID_LINES)
    ends = np.array([-half, half])
    along = np.stack(np.meshgrid(ticks, ends, indexing="ij"), -1).reshape(-1, 2)
    flat = np.concatenate([along, along[:, ::-1]]) + center[:2]
    return np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)


def _ball() -> np.ndarray:
    """Return the corners of the triangles of a ball of radius 1, (k, 3)."""
    signs = np.array(np.meshgrid(*[[1, -1]] * 3)).reshape(3, -1).T
    faces = signs[:, :, None] * np.eye(3)  # of an octahedron
    for _ in range(2):
        a, b, c = np.moveaxis(faces, 1, 0)
        ab, bc, ca = a + b, b + c, c + a
        halves = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = np.concatenate([np.stack(each, 1) for each in halves])
        faces /= np.linalg.norm(faces, axis=-1, keepdims=True)
    return faces.reshape(-1, 3)


def _thinned(points: np.ndarray) -> np.ndarray:
    rows = np.linspace(0, len(points) - 1, min(len(points), MAX_POINTS))
    return np.asarray(points, float)[rows.round().astype(int)]


def _int16(numbers: np.ndarray) -> str:
    whole = np.clip(numbers, -1, 1) * STEPS
    return base64.b64encode(whole.round().astype("<i2").tobytes()).decode()


def _uint16(faces: Sequence[np.ndarray]) -> str:
    return base64.b64encode(np.concatenate(faces).astype("<u2").tobytes()).decode()


def _rgba(color: str) -> list[float]:
    numbers = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return [*(round(x, 3) for x in numbers), OPACITY]
