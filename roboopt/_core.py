"""Foundations of all packages: array types, modules and fixed parts of a model."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from roboopt._errors import RobooptError, floats
from roboopt._readable import Readable, readable

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

AnyArray = jax.Array | np.ndarray
"""Type of an argument that is an array of JAX or NumPy."""

MIN_SCALE = 0.1  # of a parameter array, in its unit

LOGARITHM = re.compile(r"(?<![^.])log_(?=\w+$)")
"""In the name of an array that holds logarithms, which are shown as the numbers."""


class Jittable(Readable, eqx.Module):
    """A module that `jax.jit` accepts as a function, and that prints its numbers.

    `jax.jit(f)` hashes f, and equinox hashes a module by its leaves, which fails for
    arrays. This class hashes and compares by identity; the compiled function holds the
    arrays as constants. `equinox.tree_equal` compares values.
    """

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


ARRAYS = jax.Array, np.ndarray, np.generic
SETTINGS = bool, int, float, str


def compiled(method: F) -> F:
    """Compile a method of a module, whose arrays are arguments of the program.

    Outside `jax.jit` the method is then one program instead of hundreds of operations.
    With a function or a list in an argument the method runs as it stands: functions may
    come to do something else, and each new list would be compiled anew. Unlike a method
    under `equinox.filter_jit`, the bound method has a hash.
    """
    # Inlined, the method is rounded within a larger program as if it stood there.
    program = eqx.filter_jit(method, inline=True)  # pyright: ignore[reportCallIssue]

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        plain = any(isinstance(x, list | tuple) for x in arguments)
        leaves = () if plain else jax.tree.leaves((arguments, options))
        plain |= not all(isinstance(leaf, ARRAYS + SETTINGS) for leaf in leaves)
        return (method if plain else program)(*arguments, **options)

    return cast(F, call)


class Frozen(Readable, eqx.Module, Generic[T]):
    """A part of a model that is not trained, such as a controller's robot.

    `minimize` leaves the part out, and a call returns the part without a gradient.
    """

    value: T

    def __repr__(self) -> str:
        return readable(vars(self).get("value"))

    def __call__(self) -> T:
        """Return the part, through which no gradient flows."""
        traced = Tracer, np.ndarray, np.generic  # which become arrays of JAX
        if not any(isinstance(leaf, traced) for leaf in jax.tree.leaves(self.value)):
            return self.value  # Numbers have no gradient.
        arrays, rest = eqx.partition(self.value, eqx.is_inexact_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def trainable_mask(model: Any) -> Any:
    """Return a tree of booleans: which leaves of `model` are trainable arrays.

    Arrays within a `Frozen`, such as a controller's robot, are not. Their gradient is
    zero, but weight decay or noise of an optimizer would change them: in a training
    loop of your own, `optax.masked(optimizer, mask)` or `eqx.partition(model, mask)`
    keeps them as they are.
    """

    def frozen(node: Any) -> bool:
        return isinstance(node, Frozen)

    def leaf(node: Any) -> Any:
        if frozen(node):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    return jax.tree.map(leaf, model, is_leaf=frozen)


def sizes(tree: Any) -> Any:
    """Return the scale of each leaf: its root mean square, at least 0.1."""
    return jax.tree.map(
        lambda x: jnp.maximum(jnp.sqrt(jnp.mean(x**2)), MIN_SCALE), tree
    )


def groups_at_once(count: int) -> int | None:
    """Return the `batch_size` of `lax.map` over groups: one on a CPU, all elsewhere."""
    device = getattr(jax.config, "jax_default_device", None)
    platform = getattr(device, "platform", device) or jax.default_backend()
    return None if platform == "cpu" else count


def common_float(*trees: Any) -> np.dtype:
    """Return the floating-point type in which numbers of all `trees` meet."""
    found = [x for x in jax.tree.leaves(trees) if eqx.is_inexact_array(x)]
    return jnp.result_type(*found) if found else jax.dtypes.canonicalize_dtype(float)


def check_shape(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    """Refuse a shape of the argument `name` that is not `expected`."""
    if tuple(shape) != tuple(expected):
        raise RobooptError(
            f"`{name}` must have shape {tuple(expected)}, got {tuple(shape)}."
        )


def per_joint(
    name: str, values: Any, joints: int, *, infinite: bool = False
) -> np.ndarray:
    """Return the argument `name`, refused unless it has a positive number a joint."""
    numbers = floats(name, values)
    valid = (numbers > 0) & (infinite | np.isfinite(numbers))
    if numbers.shape != (joints,) or not np.all(valid):
        raise RobooptError(
            f"`{name}` must hold a positive number for each of the {joints} joints, "
            f"got {values}."
        )
    return numbers


def per_axis(name: str, values: Any, rule: str, valid: Callable[[Any], Any]) -> Any:
    """Return the argument `name`, refused unless it is one number or one an axis.

    Every number must be `valid`, as `rule` says in words.
    """
    numbers = floats(name, values)
    if numbers.ndim > 1 or not np.all(valid(numbers)):
        raise RobooptError(
            f"`{name}` must hold one number, or one an axis, {rule}, got {numbers}."
        )
    return numbers


def check_axes(name: str, shape: Sequence[int], axes: int) -> None:
    """Refuse a shape of the argument `name` that is neither one number nor one an axis.

    Unchecked, other shapes would broadcast.
    """
    if tuple(shape) not in ((), (axes,)):
        raise RobooptError(
            f"`{name}` must hold one number or {(axes,)}, one an axis, got shape "
            f"{tuple(shape)}."
        )


def scan_counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of constants and of carried values of a `scan` in a jaxpr.

    Raises:
        RobooptError: if this version of JAX describes a scan in another way.
    """
    if (groups := params.get("ft_in")) is not None:  # from JAX 0.11 on
        constants, carry, _ = groups.unpack()
        return len(constants), len(carry)
    if not {"num_consts", "num_carry"} <= params.keys():
        raise RobooptError(
            "JAX must be of a version whose loops roboopt can read, such as 0.11, got "
            f"{jax.__version__}."
        )
    return params["num_consts"], params["num_carry"]
