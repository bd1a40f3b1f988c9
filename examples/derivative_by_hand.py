"""The derivative by hand: two weights, one number in, one number out.

    x → h = w1 · x → ŷ = w2 · h → L = (ŷ − y)²

By the chain rule dL/dw1 = dL/dŷ · dŷ/dh · dh/dw1, with one factor for each variable
between w1 and L; h does not depend on w2, so that dL/dw2 = dL/dŷ · dŷ/dw2. The sign of
a derivative says which way lowers the loss, its size by how much. Gradient descent goes
against it, and the first-order prediction L + dL/dw · Δw says what the step will bring:
almost all of it for a short step, nothing for one that is too long.
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
    w1, w2 = weights
    x, y = sample
    h = w1 * x
    yhat = w2 * h
    return (yhat - y) ** 2


def factors_by_hand(w1: float, w2: float, x: float, y: float) -> dict[str, list[float]]:
    """Return the factors of dL/dw1 and dL/dw2, from the loss to the weight."""
    h = w1 * x
    slope = 2 * (w2 * h - y)  # dL/dŷ
    return {"w1": [slope, w2, x], "w2": [slope, h]}


def direction(derivative: float) -> str:
    """Return in words which way lowers the loss."""
    if derivative == 0:
        return "flat here: no small change matters"
    way = "raising" if derivative < 0 else "lowering"
    return f"{way} it lowers the loss, by {abs(derivative):.4g} per unit"


def main() -> float:
    """Print the factors, compare, descend, and return the final loss."""
    sample = jnp.asarray(X), jnp.asarray(Y)
    weights = jnp.array([0.5, 0.8])
    chain, gradient = ro.chain(loss, weights, sample), jax.grad(loss)(weights, sample)
    by_hand = factors_by_hand(float(weights[0]), float(weights[1]), X, Y)
    for (name, factors), by_jax in zip(by_hand.items(), gradient, strict=True):
        (path,) = chain.paths(name)
        product = float(jnp.prod(jnp.asarray(factors)))
        print(f"{path}")
        print(f"    by hand {product:.15f}, by JAX {float(by_jax):.15f}")
        print(f"    {name}: {direction(product)}")

    print("\nstep   w1       w2       loss        predicted   actual")
    for step in range(6):
        value, slope = jax.value_and_grad(loss)(weights, sample)
        change = -LEARNING_RATE * slope
        predicted, actual = value + slope @ change, loss(weights + change, sample)
        print(
            f"{step:4d}  {weights[0]:7.4f}  {weights[1]:7.4f}  {value:10.6f}  "
            f"{predicted:10.6f}  {actual:10.6f}"
        )
        weights = weights + change

    descent = optax.sgd(LEARNING_RATE)
    result = ro.minimize(loss, weights, sample, steps=400, optimizer=descent)
    w1, w2 = result.model
    print(f"\n{result.message}: w1 = {w1:.6f}, w2 = {w2:.6f}, ŷ = {w1 * w2 * X:.9f}")
    print(f"final loss {result.loss:.3e}")
    return result.loss


if __name__ == "__main__":
    main()
