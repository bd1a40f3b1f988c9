"""What a training keeps: the linear policy, the network, or a mean of both.

    π_α = (1 − α) π_linear + α π_network,    α = 0, 0.1, …, 1

Every α is judged on episodes that neither policy has seen, which keep the linear policy
unless they can tell a network from it, and else the least α that they cannot tell from
the best one (see `_standard_error`). So a network, or a part of it, has to earn its
place.

A few episodes select badly. Where there are few, all of them select, by
cross-validation (Stone, 1974): beside the network that sees all episodes, others
descend, on the same batches, each without a share of the episodes. The descent ends
where the sum of the errors on these shares is least, and the first network is kept. A
single episode is cut into five parts for this: samples beside each other are alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._programs import filter_jit
from roboopt.data import Demonstrations
from roboopt.imitation._action_errors import counted_axes
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.imitation._standard_error import simplest, units_of
from roboopt.imitation._toward_last_action import toward_last_action
from roboopt.losses import Loss, NegativeLogLikelihood
from roboopt.objectives import ActionMismatch, Objective, Term
from roboopt.policies import LinearPolicy, MLPPolicy

SHARES = np.linspace(0.0, 1.0, 11)  # α
FOLDS = 5
MAX_FOLDED = 30  # episodes: a fifth of more is enough to select by
MAX_VALIDATED = 10_000  # samples, in each step at which the mismatch is known


class FoldedMismatch(Objective):
    """The mean mismatch of several policies, each on the samples that it may see.

    The model is a stack of policies, and a batch holds samples and (sample, policy)
    which policy sees which.
    """

    mismatch: ActionMismatch

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the mismatch."""
        samples, seen = batch
        each = _every_cost(self.mismatch, model, samples)  # (policy, sample)
        mean = jnp.sum(each * seen.T) / jnp.sum(seen)
        name = "action_mismatch"
        if isinstance(self.mismatch.loss, NegativeLogLikelihood):
            name = "negative_log_likelihood"
        return {name: Term(mean, 1.0, "1")}


class Kept(NamedTuple):
    """What was chosen."""

    model: Any
    share: float
    """α"""
    loss: float
    """The mismatch of π_α on samples that it has not seen."""
    error: float
    """The error on these, as in `Errors.total`."""


@dataclass(frozen=True)
class Selection:
    """Policies, and the samples that select one."""

    mismatch: ActionMismatch
    linear: Sequence[Any]
    """The linear policies of the samples that each network sees, and last that of all
    samples but those held out; none of discrete actions."""
    networks: Sequence[Any]
    """The networks; where there are folds, one for each and last that of all."""
    samples: Demonstrations
    """Those that select."""
    fold: np.ndarray
    """(sample,): the number of the policy that has not seen it."""
    unit: np.ndarray
    """(sample,): the episode that it belongs to."""
    words: str
    """What the linear policy is."""

    @classmethod
    def of(
        cls,
        mismatch: ActionMismatch,
        data: DemonstrationSet,
        parts: dict[str, Demonstrations],
        build: Callable[[str, Demonstrations], tuple[Any, str]],
        *,
        chunk: int | None,
        seed: int,
        folded: bool,
        discrete: bool = False,
    ) -> "Selection | None":
        """Build the policies; None where discrete actions have no folds.

        The `parts` are samples by "training", "validation" and "known", which are both,
        and `build` returns a policy that begins with samples, and its words. If
        `folded`, few episodes select by cross-validation; no linear policy makes
        `discrete` choices.
        """
        folds, lengths = 0, [e.steps for e in data.validation]
        if data.folder is not None:  # Nobody knows whose samples were drawn.
            lengths = [len(parts["validation"])]
        elif folded and 1 < len(data.known) <= MAX_FOLDED:
            lengths = [e.steps for e in data.known]
            lengths = lengths if len(data.whole) > 1 else [sum(lengths)]
            folds = FOLDS
        known, unit = parts["known"], units_of(lengths)
        folds = min(folds, unit.max() + 1)
        if discrete and not folds:
            return None
        ridge = bool(data.past_actions) and chunk is None and not _censored(known)
        if folds:
            order = np.random.default_rng(seed).permutation(unit.max() + 1)
            fold, samples = order[unit] % folds, known
            seen = [_rows(known, fold != number) for number in range(folds)]
            seen = learned = [*seen, known]
        else:
            samples, seen = parts["validation"], [parts["training"]]
            fold, learned = np.zeros(len(samples), int), [*seen, known]
        if discrete:
            networks = [build("categorical", own)[0] for own in seen]
            return cls(mismatch, [], networks, samples, fold, unit, "")
        built = [build("linear", own) for own in learned]
        linear, words = [policy for policy, _ in built], built[-1][1]
        if ridge and isinstance(linear[0], LinearPolicy):
            linear = toward_last_action(linear, learned, samples, fold, unit)
            words = "linear, drawn toward its last action"
        networks = [
            begun_at(one, build("mlp", own)[0])
            for one, own in zip(linear, seen, strict=False)
        ]
        return cls(mismatch, linear, networks, samples, fold, unit, words)

    @property
    def folded(self) -> bool:
        """Return whether this is a cross-validation."""
        return len(self.networks) > 1

    @property
    def descent(self) -> tuple[Any, Any, Any, Any]:
        """Return objective, model, data and validation of the descent of all folds."""
        others = jax.nn.one_hot(self.fold, len(self.networks))
        count = len(self.samples)
        rows = np.linspace(0, count - 1, min(count, MAX_VALIDATED)).astype(int)
        some = _rows(self.samples, rows)
        data, validation = (self.samples, 1.0 - others), (some, others[rows])
        return FoldedMismatch(self.mismatch), _stacked(self.networks), data, validation

    def kept(self, network: Any) -> Kept:
        """Choose between the linear policy and the network; with folds their stack."""
        stack = network if self.folded else _stacked([network])
        if not self.linear:
            return self._kept_network(stack)
        linear = _stacked(self.linear[: len(self.networks)])
        fold = jnp.asarray(self.fold)
        made = [np.asarray(_left_out(x, self.samples, fold)) for x in (linear, stack)]
        means = [made[0] + share * (made[1] - made[0]) for share in SHARES]
        costs = [np.asarray(_costs(self.mismatch, x, self.samples)) for x in means]
        chosen = simplest(np.array([np.bincount(self.unit, cost) for cost in costs]))
        action, samples = means[chosen], self.samples
        for limit, clip in ((samples.low, np.maximum), (samples.high, np.minimum)):
            action = action if limit is None else clip(action, np.asarray(limit))
        gap = action - np.asarray(samples.actions)
        gap = (gap[:, 0] if gap.ndim == 3 else gap) / np.asarray(self.mismatch.scale)
        gap = gap[:, _changing(samples)]
        last = last_of(stack)
        # The linear policy of all samples: nothing selects it, so that all can teach.
        simple = self.linear[-1 if chosen == 0 else len(self.networks) - 1]
        return Kept(
            mean_policy(simple, last, float(SHARES[chosen])),
            float(SHARES[chosen]),
            float(costs[chosen].mean()),
            float(np.sqrt((gap**2).mean())),
        )

    def _kept_network(self, stack: Any) -> Kept:
        """Return the network of all samples, judged by those of the folds."""
        samples, rows = self.samples, np.arange(len(self.samples))
        action = np.asarray(_left_out(stack, samples, jnp.asarray(self.fold)))
        other = action != np.asarray(samples.actions)
        other = other[:, 0] if other.ndim == 3 else other
        other = other[:, _changing(samples)]
        costs = np.asarray(_every_cost(self.mismatch, stack, samples))
        loss = float(costs[self.fold, rows].mean())
        return Kept(last_of(stack), 1.0, loss, float(other.mean()))


def begun_at(linear: Any, network: Any) -> Any:
    """Return the network with its linear path from the linear policy, but for noise."""
    path = lambda one, _, last: (one.matrix, last.weight, one.offset)  # noqa: E731
    return _joined(linear, network, path)


def mean_policy(linear: Any, network: Any, share: float) -> Any:
    """Return (1 − share) `linear` + share `network`, of equal normalizers."""

    def mean(one: LinearPolicy, path: Array, last: Any) -> tuple[Array, ...]:
        matrix = one.matrix + share * (path - one.matrix)
        return (
            matrix,
            share * last.weight,
            one.offset + share * (last.bias - one.offset),
        )

    return linear if share == 0 else _joined(linear, network, mean)


def _joined(linear: Any, network: Any, join: Callable[..., tuple[Array, ...]]) -> Any:
    """Return the network with what `join` makes of its linear path and last layer."""

    def joined(one: Any, other: Any) -> Any:
        if not isinstance(one, LinearPolicy):
            return other
        assert isinstance(other, MLPPolicy)
        made = join(one, other.network.matrix, other.network.perceptron.layers[-1])
        return eqx.tree_at(_outermost, other, made)

    is_linear = lambda x: isinstance(x, LinearPolicy)  # noqa: E731
    return jax.tree.map(joined, linear, network, is_leaf=is_linear)


def _outermost(policy: MLPPolicy) -> tuple[Any, ...]:
    last = policy.network.perceptron.layers[-1]
    return policy.network.matrix, last.weight, last.bias


def _rows(samples: Demonstrations, rows: np.ndarray) -> Demonstrations:
    return jax.tree.map(lambda x: x[rows], samples)


def _changing(samples: Demonstrations) -> np.ndarray:
    """Return which axes of the actions count in an error."""
    actions = np.asarray(samples.actions)
    return counted_axes(np.ptp(actions.reshape(-1, actions.shape[-1]), 0))


def _stacked(models: Sequence[Any]) -> Any:
    return jax.tree.map(
        lambda *x: jnp.stack(x) if eqx.is_array(x[0]) else x[0], *models
    )


def last_of(stack: Any) -> Any:
    """Return the last model of a stack."""
    return jax.tree.map(lambda x: x[-1] if eqx.is_array(x) else x, stack)


@filter_jit
def _every_cost(mismatch: ActionMismatch, stack: Any, samples: Demonstrations) -> Array:
    """Return what the actions of every policy cost, (policy, sample)."""
    if isinstance(mismatch.loss, Loss):
        cost = jax.vmap(lambda made: _costs(mismatch, made, samples))
        return cost(_predictions(stack, samples))

    loss = mismatch.loss
    assert isinstance(loss, NegativeLogLikelihood)
    each = eqx.filter_vmap(lambda policy: loss.costs(policy, samples))(stack)
    share = samples.shares(each.shape[1:]) * len(samples)
    return jnp.sum((share[None] * each).reshape(*each.shape[:2], -1), -1)


def _predictions(stack: Any, samples: Demonstrations) -> Array:
    """Return the actions of every policy, (policy, sample, ...)."""
    every = lambda policy: jax.vmap(policy)(samples.observations)  # noqa: E731
    return eqx.filter_vmap(every)(stack)


@filter_jit
def _left_out(stack: Any, samples: Demonstrations, fold: Array) -> Array:
    """Return for each sample the action of the policy that has not seen it."""
    return _predictions(stack, samples)[fold, jnp.arange(len(samples))]


@filter_jit
def _costs(mismatch: ActionMismatch, made: Any, samples: Demonstrations) -> Array:
    """Return what actions cost, each as its share in the mean, (sample,)."""
    flat = jnp.reshape(jnp.asarray(made), (len(samples), -1))
    own = eqx.tree_at(lambda s: s.observations, samples, flat)
    # The error as the objective has it: of a policy that returns what it sees.
    error = mismatch.errors(lambda seen: seen.reshape(made.shape[1:]), own)
    loss, scale = mismatch.loss, mismatch.scale
    assert isinstance(loss, Loss) and scale is not None
    scale = jnp.broadcast_to(jnp.asarray(scale, error.dtype), error.shape)
    cost = jnp.sum(loss(error / scale), -1)
    share = samples.shares(cost.shape)
    return jnp.sum((share * cost).reshape(len(samples), -1), 1) * len(samples)


def _censored(samples: Demonstrations) -> bool:
    """Return whether a limit cuts some action."""
    low, high = (
        np.asarray(default if limit is None else limit)
        for limit, default in ((samples.low, -np.inf), (samples.high, np.inf))
    )
    actions = np.asarray(samples.actions)
    return bool(((actions <= low) | (actions >= high)).any())
