"""Export to NumPy: a file of arrays, and a module that runs without JAX.

The policy is traced to a jaxpr; every primitive of a short table is written as NumPy
spells it. The module reads arrays only: it evaluates nothing from the file.
"""

import hashlib
import keyword
import sys
import textwrap
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.data import atomic_write
from roboopt.export._program import Program, constant, read
from roboopt.export._writer import Writer, kind
from roboopt.policies import (
    OpenLoop,
    StatefulPolicy,
    TimeVaryingPolicy,
    act,
    initial_carry,
)

MARK = '"""A policy that roboopt exported'
MODULE = '''{mark}: {name}.

    from {module} import Policy

    policy = Policy("{module}.npz")
{use}

{described}

This module needs NumPy alone.
"""

import pathlib

import numpy as np

FINGERPRINT = "{fingerprint}"


class Policy:
    """`policy({arguments})` returns the action."""

    def __init__(self, path=None):
        """Read the arrays from `path`, by default the file beside this module."""
        path = pathlib.Path(__file__).with_suffix(".npz") if path is None else path
        with np.load(path, allow_pickle=False) as file:
            if str(file["fingerprint"]) != FINGERPRINT:
                raise ValueError(
                    "`path` must be the file that was exported with this module, "
                    f"got {{path}}."
                )
{arrays}{reset}
    @np.errstate(all="ignore")
    def __call__(self, {arguments}):
        """Return the action."""
{body}'''
RESET = '''        self.reset()

    def reset(self):
        """Begin an episode: forget what was observed."""
        self.memory = [{initial}]
'''
CHECK = """\
observation = np.asarray(observation).astype({kind}, casting="same_kind")
if observation.shape != {shape}:
    raise ValueError(
        f"`observation` must have shape {shape}, got {{observation.shape}}."
    )"""
FINITE = """\
if not np.isfinite(observation).all():
    entry = int(np.argmin(np.isfinite(observation)))
    raise ValueError(
        "`observation` must be finite, got "
        f"{observation.flat[entry]} in entry {entry}."
    )"""


class Exported(NamedTuple):
    """The files of an exported policy."""

    arrays: Path
    """The .npz file."""
    runner: Path
    """The Python module."""


def export_numpy(policy: Any, observation: Any, path: str | PathLike) -> Exported:
    """Write `policy` as a NumPy file and a module that needs NumPy alone.

    The module's `Policy("policy.npz")` is called as `policy(observation)`, or as
    `policy(observation, time)` for an `OpenLoop` or a `TimeVaryingPolicy`. A
    `StatefulPolicy` gets a method `reset()`, which begins an episode, and takes the
    time if it uses it. The module computes in the precision that JAX has here,
    clips actions where the policy is `Clipped`, and raises a ValueError that names the
    entry of an observation that is NaN or infinite, and leaves the memory as it is.

    Args:
        policy: a policy without chance: any callable pytree from one observation to one
            action, or a policy of one of the kinds above.
        observation: an example, of which shape and type matter.
        path: a folder for policy.npz and policy.py, made where it is missing; or the
            .npz file, whose name the module takes.

    Raises:
        RobooptError: if `policy` acts by chance, does not map an array to an array, or
            uses a primitive that only ONNX has.
    """
    arrays, module = _files(path)
    memory, step = _traced(policy, observation)
    text, constants = _module(policy, memory, step, module.stem)
    arrays.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(arrays) as file:
        np.savez(file, **constants)  # type: ignore
    with atomic_write(module) as file:
        file.write(text.encode())
    return Exported(arrays, module)


def _files(path: str | PathLike) -> tuple[Path, Path]:
    path = Path(path)
    arrays = path if path.suffix == ".npz" else path / "policy.npz"
    name, module = arrays.stem, arrays.with_suffix(".py")
    taken = name in sys.stdlib_module_names or name == "numpy"
    valid = name.isidentifier() and not keyword.iskeyword(name) and not taken
    require(valid, "path", "be a module's name, such as policy.npz", arrays.name)
    ours = not module.exists() or module.read_bytes().startswith(MARK.encode())
    require(ours, "path", "not replace a module that was not exported", module)
    return arrays, module


def check_action(action: Any) -> None:
    """Raise unless the traced result of a policy is one array."""
    one = isinstance(action, jax.ShapeDtypeStruct)
    require(one, "policy", "return one array", jax.tree.structure(action))


def _traced(policy: Any, observation: Any) -> tuple[list, Program]:
    """Return the initial memory of `policy`, and the program of one step.

    The program maps memory, observation and time to the action and the next memory.
    """
    require(callable(policy), "policy", "be callable", type(policy))
    try:
        seen = jnp.asarray(observation)
        if np.dtype(seen.dtype).kind not in "fiub":
            raise TypeError(f"{seen.dtype} is no type of real numbers")
    except (TypeError, ValueError) as error:  # Random keys have no NumPy type.
        raise RobooptError(
            "`observation` must be an array of numbers, got a "
            f"{type(observation).__name__}."
        ) from error
    leaves, tree = jax.tree.flatten(initial_carry(policy))
    memory = [jnp.asarray(leaf) for leaf in leaves]

    def step(*inputs):
        *leaves, observation, time = inputs
        if not isinstance(policy, StatefulPolicy | TimeVaryingPolicy | OpenLoop):
            return policy(observation), []
        carry = jax.tree.unflatten(tree, leaves)
        after, action = act(policy, carry, observation, time)
        return action, [jnp.asarray(leaf) for leaf in jax.tree.leaves(after)]

    inputs = (*memory, seen, jnp.zeros((), jnp.result_type(float)))
    closed, (action, after) = jax.make_jaxpr(step, return_shape=True)(*inputs)
    check_action(action)
    before, after = ([(x.shape, x.dtype) for x in y] for y in (memory, after))
    if before != after:
        raise RobooptError(
            "`policy` must keep a memory of the same shapes and types, got "
            f"{before} at the beginning and {after} after a step."
        )
    return memory, read(closed)


def _names(policy: Any) -> dict[str, Any]:
    """Return the arrays of `policy` by their place in it."""
    found = {}
    arrays = eqx.filter(policy, eqx.is_array)
    for path, leaf in jax.tree.leaves_with_path(arrays):
        # The field `value` of a `Frozen` part says nothing.
        keys = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
        found[".".join(k for k in keys if k != "value") or "array"] = leaf
    return found


def _module(
    policy: Any, memory: list, step: Program, module: str
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the text of the module, and the arrays of the file beside it."""
    writer = Writer(_names(policy))
    *_, seen, time = step.inputs
    timed = time in step.uses or isinstance(policy, TimeVaryingPolicy | OpenLoop)
    arguments = "observation, time" if timed else "observation"
    use, reset = f"    action = policy({arguments})", ""
    described = [f"action: shape {step.outputs[0].shape}, {step.outputs[0].dtype}."]
    names = [f"memory{i}" for i in range(len(memory))]
    lines, (action, *after) = writer.function(step, [*names, "observation", "time"])
    if timed:
        lines.insert(0, f"time = {kind(time.dtype)}(time)")
        described.insert(1, "time: since the beginning of the episode [s].")
    if seen in step.uses:
        if np.dtype(seen.dtype).kind == "f":
            lines.insert(0, FINITE)
        lines.insert(0, CHECK.format(kind=kind(seen.dtype), shape=seen.shape))
        described.insert(1, f"observation: shape {seen.shape}, {seen.dtype}.")
    if memory:
        use = "    policy.reset()  # at the beginning of an episode\n" + use
        initial = [writer.array(constant(array)) for array in memory]
        reset = RESET.format(initial=", ".join(initial))
        lines.insert(0, f"[{', '.join(names)}] = self.memory")
        lines.append(f"self.memory = [{', '.join(after)}]")
    body = textwrap.indent("\n".join([*lines, f"return {action}\n"]), " " * 8)
    content = (body + reset).encode()
    content += b"".join(a.tobytes() for a in writer.arrays.values())
    name = getattr(policy, "__name__", type(policy).__name__)
    fields = {
        "mark": MARK,
        "name": name if name.isidentifier() else "a function",
        "module": module,
        "use": use,
        "described": "\n".join(described),
        "fingerprint": hashlib.sha256(content).hexdigest()[:16],
        "arguments": arguments,
        "arrays": "".join(f'{" " * 12}self.{x} = file["{x}"]\n' for x in writer.arrays),
        "reset": reset,
        "body": body,
    }
    arrays = {**writer.arrays, "fingerprint": np.array(fields["fingerprint"])}
    return MODULE.format(**fields), arrays
