"""Export to NumPy: a file of arrays, and a module that runs without JAX.

The policy is traced to a jaxpr, whose calls are inlined and whose constants are
computed, and every primitive that is left is written as NumPy spells it. Arrays go to
an .npz file; no code is read from it, and nothing is evaluated that is not in the
module's text.
"""

import keyword
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write
from roboopt.export._graph import Node, read
from roboopt.export._runner import MARK, Traced, runner
from roboopt.export._writer import Writer
from roboopt.policies import OpenLoop, StatefulPolicy, TimeVaryingPolicy


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

    The module's own type of numbers is the one that the policy is traced in here. An
    `OpenLoop` or `TimeVaryingPolicy` becomes `policy(observation, time)`; an
    `StatefulPolicy` gets a method
    `reset()`, which begins an episode, and takes the time if it uses it.

    Args:
        policy: what acts, without chance; any callable pytree from one observation to
            one action, a plan, a tracker or an actor.
        observation: an example, of which shape and type matter.
        path: a folder, made where it is missing, for policy.npz and policy.py; or the
            .npz file, beside which the module gets its name.

    Returns:
        Where the two files are.

    Raises:
        RobooptError: if `policy` acts by chance, is no callable of an array, does what
            has no spelling in NumPy, or `path` names no module, or one that is not an
            earlier export.
    """
    arrays, module = _files(path)
    traced, writer = _traced(policy, observation), Writer()
    text, constants = runner(traced, module.stem, writer)
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
            "`path` must end in what a module can be called, such as policy.npz, got "
            f"{arrays.name}."
        )
    if module.exists() and not _ours(module):
        raise RobooptError(
            f"`path` must not replace a module that was not exported: {module}."
        )
    return arrays, module


def _ours(module: Path) -> bool:
    try:
        return module.read_text("utf-8").startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _traced(policy: Any, observation: Any) -> Traced:
    """Return what `policy` computes from one observation."""
    if not callable(policy) and not isinstance(policy, StatefulPolicy):
        raise RobooptError(
            f"`policy` must be a callable or a `StatefulPolicy`, got a "
            f"{type(policy).__name__}."
        )
    seen = _example(observation)
    time = jnp.zeros((), jnp.result_type(float))
    names, constants = _names(policy), []
    begin, memory = None, []
    if isinstance(policy, StatefulPolicy):
        begin, memory, act = _remembering(policy, seen, names, constants)
    elif isinstance(policy, TimeVaryingPolicy):
        act = policy
    elif isinstance(policy, OpenLoop):
        act = lambda observation, time: policy(time)  # noqa: E731
    else:
        act = lambda observation, time: policy(observation)  # noqa: E731

    closed, shapes = jax.make_jaxpr(lambda *x: act(*x), return_shape=True)(
        *memory, seen, time
    )
    action, *after = shapes if isinstance(policy, StatefulPolicy) else [shapes]
    if not isinstance(action, jax.ShapeDtypeStruct):
        raise RobooptError(
            f"`policy` must return one array, got {jax.tree.structure(action)}."
        )
    _check_memory(memory, after)
    step = read(closed, names, constants)
    timed = isinstance(policy, TimeVaryingPolicy | OpenLoop) or _reads(
        step, step.inputs[-1]
    )
    looks = _reads(step, step.inputs[-2])
    if begin is not None:
        looks |= _reads(begin, begin.inputs[0])
    name = getattr(policy, "__name__", type(policy).__name__)
    name = name if name.isidentifier() else "function"
    return Traced(name, step, begin, timed, looks)


def _example(observation: Any) -> jax.Array:
    try:
        seen = jnp.asarray(observation)
    except (TypeError, ValueError) as error:
        raise RobooptError(
            f"`observation` must be an array, got a {type(observation).__name__}."
        ) from error
    if jnp.issubdtype(seen.dtype, jax.dtypes.extended) or not np.isin(
        np.dtype(seen.dtype).kind, list("fiub")
    ):
        raise RobooptError(
            f"`observation` must be of a type that NumPy has, got {seen.dtype}."
        )
    return seen


def _remembering(policy: StatefulPolicy, seen: Any, names: Any, constants: Any) -> Any:
    """Return how `policy` begins, its memory then, and how it acts on it."""
    tree = None

    def start(observation):
        nonlocal tree
        memory = policy.begin(observation, None)
        leaves, tree = jax.tree.flatten(memory)
        return [jnp.asarray(leaf) for leaf in leaves]

    try:
        closed, memory = jax.make_jaxpr(start, return_shape=True)(seen)
    except ValueError as error:
        if not _takes_chance(policy, seen):
            raise
        raise RobooptError(
            "`policy` must act without chance, as nothing of it is exported, got a "
            f"{type(policy).__name__}, which needs a key: export the policy inside, "
            "whose answer is its mean or likeliest action."
        ) from error

    def act(*inputs):
        *leaves, observation, time = inputs
        memory = jax.tree.unflatten(tree, leaves)
        action, after = policy.step(memory, observation, time)
        return [jnp.asarray(action), *map(jnp.asarray, jax.tree.leaves(after))]

    return read(closed, names, constants), memory, act


def _takes_chance(policy: StatefulPolicy, seen: Any) -> bool:
    """Return whether `policy` begins where it gets a key."""
    try:
        jax.eval_shape(lambda key: policy.begin(seen, key), jax.random.key(0))
    except ValueError:
        return False
    return True


def _check_memory(before: Any, after: Any) -> None:
    kinds = [[(x.shape, x.dtype) for x in leaves] for leaves in (before, after)]
    if kinds[0] != kinds[1]:
        raise RobooptError(
            "`policy` must keep a memory of the same shapes and types, got "
            f"{kinds[0]} at the beginning and {kinds[1]} after a step."
        )


def _reads(block: Any, node: Node) -> bool:
    inside = [read for each in block.operations for read in each.reads()]
    return any(node is other for other in (*inside, *block.outputs))


def _names(policy: Any) -> Mapping[str, Any]:
    """Return the arrays of `policy` by where they are in it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(policy)
    found = {}
    for path, leaf in leaves:
        if eqx.is_array(leaf):
            # A `Frozen` part is in its field `value`, which says nothing.
            parts = [
                str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k))))
                for k in path
            ]
            found[".".join(p for p in parts if p != "value") or "array"] = leaf
    return found
