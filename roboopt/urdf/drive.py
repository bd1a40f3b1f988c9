"""Drives: what turns a command into the effort on a joint, for NumPy and JAX alike.

    command → delay D → first-order lag T → firmware → motor → gear → effort τ

A source of effort follows its command up to the effort limit L and the no-load speed
ω₀, |τ| ≤ L (1 ∓ q̇/ω₀). A DC motor of resistance R and torque constant k behind a gear
of ratio N turns a voltage V, within the supply's, into

    τ = (N k/R) V − (N k)²/R · q̇

whose second part, the back-EMF, acts as damping of the joint; its rotor of inertia J
adds N² J to the joint's inertia. Firmware closes a loop at every time step, by a gain
for positions, V = K_p (q* − q) − K_d q̇, or for velocities, V = K_d (q̇* − q̇); without a
resistance it asks for an effort instead of a voltage.

`roboopt.dynamics` and `roboopt_envs` both use these functions, which take arrays of
NumPy or JAX. A drive is plain data, and a pytree once `roboopt.dynamics` is imported.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import MAX_DELAY_S, RobooptError, floats, require
from roboopt.urdf._side_file import drive_numbers

Array = Any  # of NumPy or JAX

INTERFACES = ("torque", "position", "velocity", "voltage", "duty")
"""What a command is: an effort [N·m or N], a position [rad or m], a velocity [rad/s or
m/s], a voltage [V], or a voltage as a share of the supply's."""
KP, KD = 0.1, 1.0  # PyBullet's positionGain and velocityGain


@dataclass(frozen=True)
class Drive:
    """The motors of a robot's driven joints; one number for all, or one for each.

    Args:
        resistance: R of a DC motor [Ω]; None for a source of effort.
        torque_constant: k of the motor [N·m/A], which is its back-EMF's [V·s/rad].
        gear_ratio: N, turns of the motor for one of the joint [rad/m if prismatic].
        rotor_inertia: J of the motor, before the gear [kg·m²].
        supply_voltage: largest voltage of the motor [V]; None for no limit.
        no_load_speed: ω₀ of the joint, where a source of effort has none left [rad/s or
            m/s]; None for no limit.
        position_gain: K_p of a firmware loop [V/rad], or [N·m/rad] without resistance;
            None where there is no such loop.
        velocity_gain: K_d [V·s/rad], or [N·m·s/rad].
        lag: T of commands [s].
        delay: D of commands [s].

    Raises:
        RobooptError: if a number is negative or infinite, or one that divides is 0, or
            a motor has a resistance without a torque constant.
    """

    resistance: Any = None
    torque_constant: Any = None
    gear_ratio: Any = 1.0
    rotor_inertia: Any = 0.0
    supply_voltage: Any = None
    no_load_speed: Any = None
    position_gain: Any = None
    velocity_gain: Any = None
    lag: Any = None
    delay: Any = None

    def __post_init__(self):
        """Check the numbers that are not JAX's."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float | str | tuple | list | np.ndarray):
                continue
            numbers, name = floats(field.name, value), field.name
            rule = "be at least 0" if name in MAY_BE_ZERO else "be positive"
            valid = numbers >= 0 if name in MAY_BE_ZERO else numbers > 0
            if name == "delay":
                rule += f" and at most {MAX_DELAY_S:g} s"
                valid &= numbers <= MAX_DELAY_S
            elif name not in MAY_BE_INFINITE:
                rule += " and finite"
                valid &= numbers < math.inf
            require(valid.all(), name, rule, value)
        if self.resistance is not None and self.torque_constant is None:
            raise RobooptError("`torque_constant` must be given with `resistance`.")

    def arrays(self, count: int, xp: Any = np) -> "Drive":
        """Return the drive with an array of `count` numbers in place of each number."""
        made = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if np.shape(value) not in ((), (count,)):
                raise RobooptError(
                    f"`drive` must have one `{field.name}`, or one for each of the "
                    f"{count} driven joints, got {value}."
                )
            made[field.name] = xp.zeros(count) + xp.asarray(value, dtype=float)
        return replace(self, **made)

    @property
    def armature(self) -> Any:
        """N² J, the rotors' inertia felt at the joints [kg·m² or kg]."""
        return self.gear_ratio**2 * self.rotor_inertia

    @property
    def remembers(self) -> bool:
        """Whether earlier commands act later, by a lag or a delay."""
        return self.lag is not None or self.delay is not None

    @property
    def closes_a_loop(self) -> bool:
        """Whether there is a gain of firmware, for commands that are no efforts."""
        return self.position_gain is not None or self.velocity_gain is not None

    def samples(self, time_step: float) -> int:
        """Return the number of commands that are kept for the delay."""
        longest = 0.0 if self.delay is None else float(np.max(np.asarray(self.delay)))
        return math.ceil(longest / time_step - 1e-9) + 2


AnyDrive = Drive | Mapping[str, Any] | str | PathLike | None
"""A drive, its numbers by name, or a URDF with a drive in the file beside it."""


def as_drive(drive: Any) -> Drive | None:
    """Return a drive that may be a mapping from its numbers' names, or beside a URDF.

    Raises:
        RobooptError: if a name is unknown, or a number out of its range, or there is no
            drive in the file beside the URDF.
    """
    if isinstance(drive, str | PathLike):
        drive = drive_numbers(drive)
    if not isinstance(drive, Mapping):
        rule = "be a `Drive`, or a mapping from the names of its numbers"
        require(isinstance(drive, Drive | None), "drive", rule, type(drive))
        return drive
    known = [field.name for field in fields(Drive)]
    for name in drive:
        rule = f"hold numbers of {', '.join(known)}"
        require(name in known, "drive", rule, str(name))
    try:
        return Drive(**drive)
    except RobooptError as error:
        raise RobooptError(f"`drive`: {error}") from error


MAY_BE_INFINITE = "supply_voltage", "no_load_speed"
MAY_BE_ZERO = ("rotor_inertia", "position_gain", "velocity_gain", "lag", "delay")


def has_loop(interface: str, drive: Drive | None) -> bool:
    """Return whether a drive executes commands; otherwise PyBullet's motors do.

    Raises:
        RobooptError: if the interface is unknown, the drive cannot follow it, or it has
            a number that would do nothing.
    """
    known = isinstance(interface, str) and interface in INTERFACES
    require(known, "interface", f"be one of {', '.join(INTERFACES)}", interface)
    if drive is not None:
        _check_parts(drive)
    needed = {"position": "position_gain", "velocity": "velocity_gain"}
    needed |= dict.fromkeys(("voltage", "duty"), "resistance")
    name = needed.get(interface)
    if name is None or (drive is not None and getattr(drive, name) is not None):
        if interface == "duty" and (drive is None or drive.supply_voltage is None):
            raise RobooptError("`drive` must have a `supply_voltage` for duty.")
        return True
    if name == "resistance" or (drive is not None and drive.resistance is not None):
        raise RobooptError(
            f"`drive` must have a `{name}` for the interface {interface!r}, got "
            f"{drive}."
        )
    return False


def _check_parts(drive: Drive) -> None:
    """Refuse a number that would do nothing, since the drive is no DC motor, or is."""
    for name in "torque_constant", "supply_voltage", "no_load_speed":
        motor = name != "no_load_speed"
        if getattr(drive, name) is not None and motor != (drive.resistance is not None):
            raise RobooptError(
                f"`drive` must have `{name}` {'with' if motor else 'without'} a "
                f"`resistance`, got {drive}."
            )
    ratio, rotor = drive.gear_ratio, drive.rotor_inertia
    known = all(isinstance(x, int | float | tuple | np.ndarray) for x in (ratio, rotor))
    if drive.resistance is None and known and np.any(np.asarray(ratio) != 1):
        rule = "have `gear_ratio` with a `resistance` or a `rotor_inertia`"
        require(np.any(rotor), "drive", rule, drive)


def command_range(
    interface: str,
    drive: Drive | None,
    efforts: np.ndarray,
    positions: tuple[np.ndarray, np.ndarray],
    speed: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest command of each driven joint, in its unit.

    Args:
        interface: what a command is.
        drive: the drive, if there is one.
        efforts: limits of the driven joints [N·m or N].
        positions: their lower and upper limits [rad or m].
        speed: the limit of a joint without a no-load speed [rad/s or m/s].
    """
    if interface == "position":
        return positions
    high = efforts
    if interface == "velocity":
        high = np.full(len(efforts), speed)
        if drive is not None:
            high = np.minimum(high, free_speed(drive.arrays(len(efforts))))
    elif interface == "voltage" and drive is not None:
        high = drive.arrays(len(efforts)).supply_voltage
        high = np.full(len(efforts), np.inf) if high is None else high
    elif interface == "duty":
        high = np.ones(len(efforts))
    return -high, high


def free_speed(drive: Drive) -> Array:
    """Return the speed of the joints without load, infinite if nothing limits it."""
    if drive.resistance is None:
        return np.inf if drive.no_load_speed is None else drive.no_load_speed
    if drive.supply_voltage is None:
        return np.inf
    return drive.supply_voltage / (drive.gear_ratio * drive.torque_constant)


class Memory(NamedTuple):
    """Commands on their way, and where the lag stands."""

    begun: Array
    """1 once there was a command, else 0."""
    past: Array
    """(sample, act), the newest first."""
    level: Array
    """(act,)"""


def first_memory(drive: Drive, count: int, time_step: float, xp: Any = np) -> Memory:
    """Return the memory of a drive that has received no command yet."""
    samples = xp.zeros((drive.samples(time_step), count))
    return Memory(xp.zeros(()), samples, xp.zeros(count))


def followed(
    drive: Drive, memory: Memory, command: Array, time_step: float
) -> tuple[Memory, Array]:
    """Return the memory after a time step, and the command that acts during it.

    Delay and lag are those that `ParametricTwin.commanded` fits: the first command is
    held before the start, between commands the delay is linear, and the lag's mean over
    the step acts.
    """
    xp = command.__array_namespace__()
    shifted = xp.concatenate([command[None], memory.past[:-1]])
    past = xp.where(memory.begun > 0, shifted, command[None] + 0.0 * memory.past)
    now = command
    if drive.delay is not None:
        at = drive.delay / time_step
        whole = xp.clip(xp.floor(at).astype(int), 0, len(past) - 2)
        new = xp.take_along_axis(past, whole[None], 0)[0]
        old = xp.take_along_axis(past, whole[None] + 1, 0)[0]
        now = new - (at - whole) * (new - old)
    level = now
    if drive.lag is not None:
        there = drive.lag > 0
        steps = drive.lag / time_step
        keep = xp.exp(-1.0 / xp.where(there, steps, 1.0))
        keep = xp.where(there, keep, 0.0)
        gap = xp.where(memory.begun > 0, memory.level, now) - now
        level, now = now + keep * gap, now + steps * (1 - keep) * gap
    return Memory(memory.begun * 0.0 + 1.0, past, level), now


def motor_effort(
    drive: Drive,
    interface: str,
    command: Array,
    q: Array,
    velocity: Array,
    limits: Array,
) -> tuple[Array, Array]:
    """Return efforts τ₀ and dampings b of the driven joints: τ = τ₀ − b q̇.

    Args:
        drive: of arrays.
        interface: what a command is.
        command: one number a joint.
        q: [rad or m].
        velocity: [rad/s or m/s].
        limits: of the effort [N·m or N].
    """
    xp = command.__array_namespace__()
    asked, speed = command, drive.velocity_gain
    if interface == "position":
        asked = drive.position_gain * (command - q)
        asked = asked if speed is None else asked - speed * velocity
    elif interface == "velocity":
        asked = speed * (command - velocity)
    elif interface == "duty":
        asked = drive.supply_voltage * command
    if drive.resistance is None:
        low, high = -limits, limits
        if drive.no_load_speed is not None:
            slope = velocity / drive.no_load_speed
            high = limits * xp.clip(1.0 - slope, 0.0, 1.0)
            low = -limits * xp.clip(1.0 + slope, 0.0, 1.0)
        return xp.clip(asked, low, high), xp.zeros_like(velocity)
    constant, volts = drive.gear_ratio * drive.torque_constant, drive.supply_voltage
    volts = np.inf if volts is None else volts
    per_volt = constant / drive.resistance
    if interface == "torque":  # The amplifier keeps the current, as far as it can.
        rest = xp.clip(asked / per_volt + constant * velocity, -volts, volts)
        effort = per_volt * (rest - constant * velocity)
        return xp.clip(effort, -limits, limits), xp.zeros_like(velocity)
    effort, damping = per_volt * xp.clip(asked, -volts, volts), per_volt * constant
    back = damping * velocity
    return xp.clip(effort, back - limits, back + limits), damping
