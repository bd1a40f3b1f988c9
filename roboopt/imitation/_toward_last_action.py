"""A linear policy that is drawn toward repeating its last action.

    W = P + argmin_Δ Σ_b |a_b − a'_b − Δ x_b|² + λ B |Δ|²,    P x = a'

over B samples with the last action a'. No penalty λ of the ridge regression (Hoerl and
Kennard, 1970) gives the least squares, an infinite one gives persistence. Episodes that
the regression has not seen choose λ, the largest first (see `_standard_error`). So
where the last action is the best prediction of the next, few samples do not teach the
policy another.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.data import Demonstrations
from roboopt.imitation._standard_error import simplest
from roboopt.networks import angle_features
from roboopt.policies import LinearPolicy

PENALTIES = (np.inf, *np.logspace(3, -6, 28), 1e-8)


def toward_last_action(
    policies: Sequence[LinearPolicy],
    learned: Sequence[Demonstrations],
    samples: Demonstrations,
    fold: np.ndarray,
    unit: np.ndarray,
) -> list[LinearPolicy]:
    """Return the policies with the weights W of one λ, which the `samples` choose.

    The last axes of their observations are the last action. A policy has `learned` some
    samples; `fold` is the policy that has not seen a sample, `unit` its episode.
    """
    costs = np.zeros((len(PENALTIES), unit.max() + 1))
    for number in np.unique(fold):
        one, rows = policies[number], fold == number
        x, y = _features(one, jax.tree.map(lambda a, rows=rows: a[rows], samples))
        known = _features(one, learned[number])
        for cost, penalty in zip(costs, PENALTIES, strict=True):
            error = ((x @ _change(*known, penalty) - y) ** 2).sum(1)
            np.add.at(cost, unit[rows], error)
    penalty = PENALTIES[simplest(costs)]
    return [
        _with_change(one, _change(*_features(one, own), penalty))
        for one, own in zip(policies, learned, strict=True)
    ]


def _columns(policy: LinearPolicy) -> np.ndarray:
    """Return which features are the last action."""
    size, width = policy.outputs.size, policy.inputs.size - len(policy.angles)
    return np.arange(width - size - len(policy.angles), width - len(policy.angles))


def _features(
    policy: LinearPolicy, samples: Demonstrations
) -> tuple[np.ndarray, np.ndarray]:
    """Return x, and the change of the action in units of its spread."""
    features = angle_features(samples.observations, policy.angles)
    x = np.asarray(jax.vmap(policy.inputs)(features), float)
    change = np.asarray(samples.actions) - np.asarray(features)[:, _columns(policy)]
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    return x, change / np.asarray(policy.outputs.scale())


def _change(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Return Δ."""
    if np.isinf(penalty):
        return np.zeros((x.shape[1], y.shape[1]))
    ridge = penalty * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(x.T @ x + ridge, x.T @ y)


def _with_change(policy: LinearPolicy, change: np.ndarray) -> LinearPolicy:
    columns, matrix, offset = _columns(policy), change[:-1].T, change[-1]
    inputs, outputs = policy.inputs, policy.outputs
    unit, scale = np.asarray(inputs.scale())[columns], np.asarray(outputs.scale())
    matrix[np.arange(outputs.size), columns] += unit / scale
    middle = np.asarray(inputs.mean())[columns] - np.asarray(outputs.mean())
    weights = jnp.asarray(matrix), jnp.asarray(offset + middle / scale)
    return eqx.tree_at(lambda p: (p.matrix, p.offset), policy, weights)
