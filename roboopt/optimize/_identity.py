"""The identity of a descent: two with the same take the same steps.

A checkpoint holds the identity of its descent. One that belongs to another is refused,
with the parts that differ.
"""

from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._digest import HASH, differing, digest
from roboopt._errors import RobooptError
from roboopt.gradients import LossFn
from roboopt.optimize._feed import Feed
from roboopt.optimize._fit import Fit
from roboopt.optimize._loop import Descent, Problem
from roboopt.optimize._partition import leaf_names
from roboopt.optimize._sources import FullBatch, Minibatches, Sampler


def identity(
    problem: Problem,
    feed: Feed,
    params: Any,
    fixed: Any,
    descent: Descent,
    *,
    on_host: bool,
    own_optimizer: bool,
) -> dict[str, str]:
    """Return the parts of the identity by name, of a descent before its first step.

    How long a descent lasts is no part of it: it may be given more steps, over which
    the optimizers of roboopt then anneal their rate.
    """
    if problem.batched:
        params, fixed, descent = jax.eval_shape(
            lambda *trees: jax.tree.map(lambda x: x[0], trees), params, fixed, descent
        )
    gradient = problem.gradient
    model = _structures((params, fixed))
    batch = _batch(problem, *model)
    parts = {
        "model": _forms(params) + _forms(fixed),
        "data": _data(problem, feed, model),
        "bounds": HASH + digest(problem.intervals),
        "gradient": type(gradient).__name__ + HASH + digest(gradient),
        "objective": _objective(problem, model, batch, on_host),
        "optimizer": _optimizer(problem, descent, on_host, own_optimizer),
    }
    if problem.validation is not None:
        parts["validation"] = HASH + digest(jax.tree.leaves(problem.validation.data))
    if not feed.changes:
        parts["initial values"] = HASH + digest(jax.tree.leaves((params, fixed)))
    return parts | _versions()


def fit_identity(fit: Fit, lower: np.ndarray, upper: np.ndarray) -> dict[str, str]:
    """Return the parts of the identity of a fit within bounds by name."""
    x = fit.start()
    programs = [(w, jax.make_jaxpr(part.residuals)(x)) for w, part in fit.parts()]
    return {
        "model": _forms(fit.trained) + _forms(fit.fixed),
        "data": _forms(fit.data) + HASH + digest(jax.tree.leaves(fit.data)),
        "bounds": HASH + digest(lower, upper),
        "initial values": HASH + digest(jax.tree.leaves((fit.trained, fit.fixed))),
        "objective": HASH + digest(programs),
    } | _versions()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("roboopt", "jax")}


def check_identity(here: dict[str, str], there: dict[str, str], path: Any) -> None:
    """Raise a `RobooptError` if the identity of a checkpoint `there` is another."""
    if here["model"] != there.get("model"):  # then so is all that depends on it
        here = {name: here[name] for name in ("seed", "model") if name in here}
    other = differing(here, there) if there else "the version of roboopt"
    if other:
        raise RobooptError(
            f"`checkpoint` must be of the same descent, but that of {path} differs in "
            f"{other}; to start anew, remove the file or name another."
        )


def _structures(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _forms(tree: Any) -> str:
    leaves = zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
    return " ".join(f"{name} {x.dtype}{list(x.shape)}" for name, x in leaves)


def _batch(problem: Problem, params: Any, fixed: Any) -> Any:
    """Return the structure of a batch."""
    source = problem.source
    if isinstance(source, Sampler):
        model = eqx.combine(params, fixed, problem.static)
        key = jax.eval_shape(lambda: jax.random.key(0))
        return eqx.filter_eval_shape(source.function, model, key)
    count = source.size if isinstance(source, Minibatches) else None
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            (count, *x.shape[1:]) if count else x.shape, x.dtype
        ),
        source.data,
    )


def _data(problem: Problem, feed: Feed, model: Any) -> str:
    """Return what identifies the data.

    Arrays count by their bytes, a function by its program, and a `Source` by its class,
    the shapes of its batches, and `fingerprint()` where it has that.
    """
    source = problem.source
    if isinstance(source, Sampler):
        key = jax.eval_shape(lambda: jax.random.key(0))

        def drawn(params: Any, fixed: Any, key: Any) -> Any:
            batch = source.function(eqx.combine(params, fixed, problem.static), key)
            return eqx.filter(batch, eqx.is_array)

        return HASH + digest(jax.make_jaxpr(drawn)(*model, key))
    assert isinstance(source, FullBatch | Minibatches)
    size = getattr(source, "size", "all")
    text = f"{_forms(source.data)}, batches of {size}"
    if feed.changes:
        return f"{text}{HASH}{digest(feed.fingerprint)}"
    return text + HASH + digest(jax.tree.leaves(source.data))


def _objective(problem: Problem, model: Any, batch: Any, on_host: bool) -> str:
    objective = problem.objective
    if on_host:
        return HASH + digest(objective)
    is_array = lambda x: isinstance(x, jax.ShapeDtypeStruct)  # noqa: E731
    arrays, rest = eqx.partition(batch, is_array)

    def evaluate(params: Any, fixed: Any, arrays: Any) -> Any:
        build = lambda own: eqx.combine(own, fixed, problem.static)  # noqa: E731
        return LossFn(objective, build).evaluate(params, eqx.combine(arrays, rest))

    return HASH + digest(jax.make_jaxpr(evaluate)(*model, arrays))


def _optimizer(
    problem: Problem, descent: Descent, on_host: bool, own_optimizer: bool
) -> str:
    if own_optimizer:
        return "default" + HASH + digest(_forms(descent.optimizer))
    if on_host:
        return "given" + HASH + digest(problem.optimizer)
    params, state = _structures((descent.params, descent.optimizer))
    kind = jnp.result_type(*jax.tree.leaves(params))

    def value_fn(params: Any) -> Any:
        return sum(jnp.sum(x**2).astype(kind) for x in jax.tree.leaves(params))

    def update(gradient: Any, state: Any, params: Any, value: Any) -> Any:
        more = {"value": value, "grad": gradient, "value_fn": value_fn}
        return problem.optimizer.update(gradient, state, params, **more)

    value = jax.ShapeDtypeStruct((), kind)
    moves = jax.make_jaxpr(update)(params, state, params, value)
    # Its state before the first step holds the rates that the program reads.
    initial = () if problem.batched else jax.tree.leaves(descent.optimizer)
    return "given" + HASH + digest(moves, initial)
