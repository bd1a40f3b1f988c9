"""Compiled programs that are dropped in time, so that a sweep leaves none for good.

`equinox.filter_jit` keeps the program of each function that an objective holds as long
as the process lives: some 10 MB for every call of `minimize` with a lambda of its own.
Here a compiled function keeps the programs of its last few static arguments. JAX drops
what belongs to the others, since its own caches know functions by weak references.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import equinox as eqx
import jax

KEPT = 16  # static arguments whose programs a function keeps
MAPS = Path("/proc/self/maps")
MAX_MAPS = 40_000  # of the 65,530 memory maps that Linux grants a process

F = TypeVar("F", bound=Callable[..., Any])


def make_room() -> None:
    """Drop all compiled programs where they hold most memory maps of the process.

    Where the kernel grants no more, XLA aborts the process: after some 70 clones of as
    many data sets. What is called again is compiled again.
    """
    try:
        count = MAPS.read_bytes().count(b"\n")
    except OSError:  # not on Linux
        return
    if count > MAX_MAPS:
        jax.clear_caches()


class _Static(eqx.Module):
    """The part of a result that holds no arrays."""

    value: Any = eqx.field(static=True)


def filter_jit(function: F, *, inline: bool = False) -> F:
    """Return the function compiled: its arrays are traced, all else is static.

    Args:
        function: a pure function or a method.
        inline: whether a larger program takes the operations in one by one.
    """

    @functools.lru_cache(KEPT)
    def program(structure: Any, leaves: tuple[tuple[type, Any], ...]) -> Any:
        rest = jax.tree.unflatten(structure, [leaf for _, leaf in leaves])

        @functools.wraps(function)
        def whole(arrays: Any) -> Any:
            args, kwargs = eqx.combine(arrays, rest)
            made, other = eqx.partition(function(*args, **kwargs), eqx.is_array)
            return made, _Static(other)

        del whole.__wrapped__  # JAX would read the arguments off it
        return jax.jit(whole, inline=inline)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        arrays, rest = eqx.partition((args, kwargs), eqx.is_array)
        leaves, structure = jax.tree.flatten(rest)
        typed = tuple((type(leaf), leaf) for leaf in leaves)  # 1, 1.0 and True differ
        made, other = program(structure, typed)(arrays)
        return eqx.combine(made, other.value)

    return cast(F, call)


@filter_jit
def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, compiled; the arrays of a module are traced."""
    return function(*arguments)
