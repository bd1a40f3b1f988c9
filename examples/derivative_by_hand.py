"""The derivative by hand: two weights, one number in, one number out.

    x → h = w1 · x → ŷ = w2 · h → L = (ŷ − y)²

By the chain rule dL/dw2 = 2 (ŷ − y) · w1 x and dL/dw1 = 2 (ŷ − y) · w2 x. JAX finds the
same. Gradient descent then goes against the derivative: a weight whose derivative is
positive falls, one whose derivative is negative rises, one whose derivative is zero
stays. Each step's new loss is foretold by the first-order prediction
f(x) + f'(x) · Δx, and printed beside what it really became.
"""

import jax
import jax.numpy as jnp
import optax

import roboopt as ro

jax.config.update("jax_enable_x64", True)

LEARNING_RATE = 0.02
X, Y = 1.5, 3.0


def loss(weights: jax.Array, sample: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Return L of the weights (w1, w2) on one sample (x, y)."""
    (w1, w2), (x, y) = weights, sample
    return (w2 * (w1 * x) - y) ** 2


def derivative_by_hand(w1: float, w2: float, x: float, y: float) -> tuple[float, float]:
    """Return dL/dw1 and dL/dw2."""
    error = w2 * w1 * x - y
    return 2 * error * w2 * x, 2 * error * w1 * x


def main() -> float:
    """Compare, descend, and return the final loss."""
    sample = jnp.asarray(X), jnp.asarray(Y)
    weights = jnp.array([0.5, 0.8])
    by_hand = derivative_by_hand(float(weights[0]), float(weights[1]), X, Y)
    by_jax = jax.grad(loss)(weights, sample)
    print(f"by hand dL/dw1 = {by_hand[0]:.15f}   dL/dw2 = {by_hand[1]:.15f}")
    print(f"by JAX  dL/dw1 = {by_jax[0]:.15f}   dL/dw2 = {by_jax[1]:.15f}\n")

    print("step   w1       w2       loss        predicted   really")
    for step in range(6):
        value, slope = jax.value_and_grad(loss)(weights, sample)
        change = -LEARNING_RATE * slope
        predicted = value + slope @ change
        weights = weights + change
        really = loss(weights, sample)
        print(
            f"{step:4d}  {weights[0]:7.4f}  {weights[1]:7.4f}  {value:10.6f}  "
            f"{predicted:10.6f}  {really:10.6f}"
        )

    descent = optax.sgd(LEARNING_RATE)
    result = ro.minimize(loss, weights, sample, steps=400, optimizer=descent)
    w1, w2 = result.model
    print(f"\n{result.message}: w1 = {w1:.6f}, w2 = {w2:.6f}, ŷ = {w1 * w2 * X:.9f}")
    print(f"final loss {result.loss:.3e}")
    return result.loss


if __name__ == "__main__":
    main()
