"""A linear policy that is drawn toward repeating its last action.

    W = P + argmin_Δ Σ_b |a_b − a'_b − Δ x_b|² + λ B |Δ|²,    P x = a'

over B samples with the last action a'. The penalty λ of the ridge regression (Hoerl
and Kennard, 1970) is the one with the least error on validation samples: none gives the
least squares, an infinite one gives persistence. So where the last action is the best
prediction of the next, few samples do not teach the policy another.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.data import Demonstrations
from roboopt.networks import angle_features
from roboopt.policies import LinearPolicy

PENALTIES = (1e-8, *np.logspace(-6, 3, 28), np.inf)


def toward_last_action(
    policy: LinearPolicy,
    training: Demonstrations,
    validation: Demonstrations,
    known: Demonstrations,
) -> LinearPolicy:
    """Return the policy with the weights W.

    Args:
        policy: of observations whose last axes are the last action.
        training: what the regression of each λ is of.
        validation: what chooses λ.
        known: what the regression of the λ chosen is of.
    """
    size, axes = known.actions.shape[-1], len(policy.angles)
    width = known.observations.shape[-1]
    columns = np.arange(width - size - axes, width - axes)  # of the features

    def read(samples: Demonstrations) -> tuple[np.ndarray, np.ndarray]:
        features = angle_features(samples.observations, policy.angles)
        x = np.asarray(jax.vmap(policy.inputs)(features), float)
        change = np.asarray(samples.actions) - np.asarray(features)[:, columns]
        x = np.concatenate([x, np.ones((len(x), 1))], 1)
        return x, change / np.asarray(policy.outputs.scale())

    def fitted(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
        if np.isinf(penalty):
            return np.zeros((x.shape[1], y.shape[1]))
        ridge = penalty * len(x) * np.eye(x.shape[1])
        return np.linalg.solve(x.T @ x + ridge, x.T @ y)

    learned, (x, y) = read(training), read(validation)
    errors = [np.sum((x @ fitted(*learned, p) - y) ** 2) for p in PENALTIES]
    change = fitted(*read(known), PENALTIES[int(np.argmin(errors))])
    matrix, offset = change[:-1].T, change[-1]
    inputs, outputs = policy.inputs, policy.outputs
    unit, scale = np.asarray(inputs.scale())[columns], np.asarray(outputs.scale())
    matrix[np.arange(size), columns] += unit / scale
    middle = np.asarray(inputs.mean())[columns] - np.asarray(outputs.mean())
    weights = jnp.asarray(matrix), jnp.asarray(offset + middle / scale)
    return eqx.tree_at(lambda p: (p.matrix, p.offset), policy, weights)
