"""A pendulum of one joint, and what it does."""

import jax
import jax.numpy as jnp
import numpy as np

from roboopt import Trajectory, Twin
from roboopt.dynamics import Multibody


def pendulum_twin(time_step: float = 0.1, **settings) -> Twin:
    """Return 2 kg and 0.1 kg·m², 0.5 m along x from a joint about y.

    About the joint its inertia is 0.6 kg·m², and positive q lowers it.
    """
    eye, zero = jnp.eye(3)[None], jnp.zeros((1, 3))
    robot = Multibody(
        joint_names=("hinge",),
        parents=(-1,),
        revolute=(True,),
        effort_limits=(float("inf"),),
        limited=(False,),
        body_names=("arm",),
        body_joints=(0,),
        link_names=("arm",),
        link_joints=(0,),
        joint_rotations=eye,
        joint_offsets=zero,
        axes=jnp.array([[0.0, 1.0, 0.0]]),
        link_rotations=eye,
        link_offsets=zero,
        masses=jnp.array([2.0]),
        centers_of_mass=jnp.array([[0.5, 0.0, 0.0]]),
        inertias=0.1 * eye,
        damping=jnp.zeros(1),
        friction=jnp.zeros(1),
        armature=jnp.zeros(1),
        lower=jnp.full(1, -jnp.inf),
        upper=jnp.full(1, jnp.inf),
        gravity=jnp.array([0.0, 0.0, -9.81]),
        linear_damping=jnp.zeros(()),
        angular_damping=jnp.zeros(()),
    )
    return Twin(robot, time_step, **settings)


def record(twin: Twin, *, steps: int, seed: int = 0) -> Trajectory:
    """Return what `twin` does under random efforts, from q = 0.3 at 0.8 rad/s."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(steps, twin.action_size))
    start = jnp.array([0.3, 0.8])

    def advance(state, action):
        after = twin(state, action)
        return after, after

    after = jax.lax.scan(advance, start, jnp.asarray(actions))[1]
    observations = np.concatenate([start[None], after])
    return Trajectory(observations, actions, twin.time_step)
