import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt.dynamics import _rigid_bodies as rigid


@pytest.mark.parametrize("size", [1, 2, 5, 9, 10, 60])
def test_solves_and_inverts(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size))
    matrix, vector = root @ root.T + np.eye(size), rng.normal(size=size)
    solved = rigid.solve_positive_definite(jnp.asarray(matrix), jnp.asarray(vector))
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, vector), rtol=1e-11)
    inverse = rigid.invert_positive_definite(jnp.asarray(matrix))
    np.testing.assert_allclose(inverse @ matrix, np.eye(size), atol=1e-12)

    def first(scale):
        scaled = matrix + (scale - 1) * jnp.diag(jnp.diagonal(matrix))
        return rigid.solve_positive_definite(scaled, scale * vector)[0]

    # d(M⁻¹ v) = M⁻¹ (dv − dM M⁻¹ v)
    change = vector - np.diag(matrix) * np.asarray(solved)
    expected = np.linalg.solve(matrix, change)[0]
    np.testing.assert_allclose(
        jax.jit(jax.grad(first))(1.0), expected, rtol=1e-9, atol=1e-12
    )


def test_two_unknowns_by_hand():
    # [[2, 1], [1, 1]] x = (3, 2): x = (1, 1); its inverse is [[1, −1], [−1, 2]].
    matrix = jnp.array([[2.0, 1.0], [1.0, 1.0]])
    solved = rigid.solve_positive_definite(matrix, jnp.array([3.0, 2.0]))
    np.testing.assert_allclose(solved, [1, 1], rtol=1e-15)
    inverse = rigid.invert_positive_definite(matrix)
    np.testing.assert_allclose(inverse, [[1, -1], [-1, 2]], rtol=1e-15)


def test_norm_is_differentiable_at_rest():
    value, grad = jax.jit(jax.value_and_grad(lambda v: rigid.safe_norm(v)[0]))(
        jnp.zeros(3)
    )
    assert value == 0
    np.testing.assert_array_equal(grad, np.zeros(3))
    np.testing.assert_allclose(rigid.safe_norm(jnp.array([3.0, 4.0, 0.0])), [5.0])


def test_ancestors_of_a_branching_tree():
    tree = rigid.Tree((-1, 0, 0, 2), (True,) * 4, ())
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]
    np.testing.assert_array_equal(tree.ancestors(), np.array(expected, bool))
