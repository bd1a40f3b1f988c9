"""Export to NumPy: a file of arrays, and a module that runs without JAX.

The policy is traced to a jaxpr; every primitive of a short table is written as NumPy
spells it. The module reads arrays only: it evaluates nothing from the file.
"""

import hashlib
import keyword
import re
import sys
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write
from roboopt.export._program import Program, constant, read
from roboopt.export._writer import COMPARISON, Writer, kind
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
{code}'''
RESET = '''        self.reset()

    def reset(self):
        """Begin an episode: forget what was observed."""
        self.memory = [{initial}]
'''
CALL = '''
    @np.errstate(all="ignore")
    def __call__(self, {arguments}):
        """Return the action."""
'''
STEP = """        action, *self.memory = self._step(*self.memory, {arguments})
        return action

    def _step(self, {names}, {arguments}):
"""
CHECK = """\
        observation = np.asarray(observation).astype({kind}, casting="same_kind")
        if observation.shape != {shape}:
            raise ValueError(
                "`observation` must have shape {shape}, "
                f"got {{observation.shape}}."
            )
"""
BODY = " " * 8


class Exported(NamedTuple):
    """The files of an exported policy."""

    arrays: Path
    """The .npz file."""
    runner: Path
    """The Python module."""


def export_numpy(policy: Any, observation: Any, path: str | PathLike) -> Exported:
    """Write `policy` as a NumPy file and a module that needs NumPy alone.

        from policy import Policy
        policy = Policy("policy.npz")
        action = policy(observation)

    The module computes in the precision that JAX has here. An `OpenLoop` or
    `TimeVaryingPolicy` becomes `policy(observation, time)`. A `StatefulPolicy` gets a
    method `reset()`, which begins an episode, and takes the time if it uses it. Actions
    are clipped where the policy is `Clipped`.

    Args:
        policy: a policy without chance: any callable pytree from one observation to one
            action, or a policy of one of the kinds above.
        observation: an example, of which shape and type matter.
        path: a folder for policy.npz and policy.py, made where it is missing; or the
            .npz file, whose name the module takes.

    Raises:
        RobooptError: if `policy` acts by chance, does not map an array to an array, or
            uses a primitive that only ONNX has; or if `path` is not the name of a
            module, or that of a module which was not exported.
    """
    arrays, module = _files(path)
    text, constants = _module(policy, *_traced(policy, observation), module.stem)
    compile(text, str(module), "exec")
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
    if not name.isidentifier() or keyword.iskeyword(name) or taken:
        raise RobooptError(
            f"`path` must be a module's name, such as policy.npz, got {arrays.name}."
        )
    if module.exists() and not module.read_bytes().startswith(MARK.encode()):
        raise RobooptError(
            f"`path` must not replace a module that was not exported: {module}."
        )
    return arrays, module


def _traced(policy: Any, observation: Any) -> tuple[list, Program]:
    """Return the initial memory of `policy`, and how it acts.

    The program maps the memory, the observation and the time to the action and the next
    memory.
    """
    if not callable(policy):
        raise RobooptError(f"`policy` must be callable, got a {type(policy).__name__}.")
    try:
        seen = jnp.asarray(observation)
    except (TypeError, ValueError) as error:
        raise RobooptError(
            f"`observation` must be an array, got a {type(observation).__name__}."
        ) from error
    extended = jnp.issubdtype(seen.dtype, jax.dtypes.extended)
    if extended or np.dtype(seen.dtype).kind not in "fiub":
        raise RobooptError(f"`observation` must be of numbers, got {seen.dtype}.")
    leaves, tree = jax.tree.flatten(initial_carry(policy))
    memory = [jnp.asarray(leaf) for leaf in leaves]

    def step(*inputs):
        *leaves, observation, time = inputs
        if not isinstance(policy, StatefulPolicy | TimeVaryingPolicy | OpenLoop):
            return policy(observation), []
        after, action = act(policy, jax.tree.unflatten(tree, leaves), observation, time)
        return action, [jnp.asarray(leaf) for leaf in jax.tree.leaves(after)]

    time = jnp.zeros((), jnp.result_type(float))
    trace = jax.make_jaxpr(step, return_shape=True)
    closed, (action, after) = trace(*memory, seen, time)
    if not isinstance(action, jax.ShapeDtypeStruct):
        raise RobooptError(
            f"`policy` must return one array, got {jax.tree.structure(action)}."
        )
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
    for path, leaf in jax.tree_util.tree_flatten_with_path(policy)[0]:
        if eqx.is_array(leaf):
            # The field `value` of a `Frozen` part says nothing.
            keys = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
            found[".".join(k for k in keys if k != "value") or "array"] = leaf
    return found


def _module(
    policy: Any, memory: list, step: Program, module: str
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the text of the module, and the arrays of the file beside it."""
    writer, reads = Writer(_names(policy)), step.reads()
    *_, seen, time = step.inputs
    timed = time in reads or isinstance(policy, TimeVaryingPolicy | OpenLoop)
    arguments = "observation, time" if timed else "observation"
    action = step.outputs[0]
    described = [f"action: shape {action.shape}, {action.dtype.name}."]
    call = CALL.format(arguments=arguments)
    if seen in reads:
        call += CHECK.format(kind=kind(seen.dtype), shape=seen.shape)
        described.append(f"observation: shape {seen.shape}, {seen.dtype.name}.")
    if timed:
        call += f"{BODY}time = {kind(time.dtype)}(time)\n"
        described.append("time: since the beginning of the episode [s].")
    names = [f"memory{i}" for i in range(len(memory))]
    lines = writer.function(step, [*names, "observation", "time"])
    use = f"    action = policy({arguments})"
    if memory:
        initial = [
            f"np.array({writer.full(constant(array), COMPARISON)}, {kind(array.dtype)})"
            for array in memory
        ]
        call = RESET.format(initial=", ".join(initial)) + call
        call += STEP.format(arguments=arguments, names=", ".join(names))
        use = "    policy.reset()  # at the beginning of an episode\n" + use
    else:
        lines[-1] = re.sub(r"return \[(.*)\]$", r"return \1", lines[-1])
    code = "".join(
        f'            self.{name} = file["{name}"]\n' for name in writer.arrays
    )
    code += call + "".join(f"{BODY}{line}\n" for line in lines)
    content = code.encode() + b"".join(a.tobytes() for a in writer.arrays.values())
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    name = getattr(policy, "__name__", type(policy).__name__)
    text = MODULE.format(
        mark=MARK,
        name=name if name.isidentifier() else "a function",
        module=module,
        use=use,
        described="\n".join(described),
        fingerprint=fingerprint,
        arguments=arguments,
        code=code,
    )
    return text, {**writer.arrays, "fingerprint": np.array(fingerprint)}
