"""The library's own demonstrators: one for each task, none for anything else."""

import gymnasium
import numpy as np
import pytest
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro


@pytest.mark.parametrize(
    "name, kind",
    [
        ("roboopt/ArmReach-v0", ro.policies.PDGravityCompensation),
        ("roboopt/CartPoleBalance-v0", ro.policies.LinearFeedback),
        ("roboopt/CartPoleSwingUp-v0", ro.policies.EnergyShapingSwingUp),
    ],
)
def test_each_task_has_its_controller(name, kind, tmp_path):
    env = gymnasium.make(name)
    expert, words = ro.imitation.demonstrator(env)
    assert isinstance(expert, kind) and words
    ro.save(tmp_path / "expert.npz", expert)
    assert isinstance(ro.load(tmp_path / "expert.npz"), kind)
    env.close()


def test_the_regulator_balances_the_pole():
    env = gymnasium.make("roboopt/CartPoleBalance-v0", duration=1.0)
    expert, _ = ro.imitation.demonstrator(env)
    start = np.array([[0.0, 0.1, 0.0, 0.0]])
    motion = ro.rollouts.collect(env, expert, starts=start)
    assert abs(np.asarray(motion.observations)[0, -1, 1]) < 0.02
    env.close()


class Scaled(gymnasium.ActionWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def action(self, action):
        return 10.0 * action


def test_other_environments_have_none():
    scaled = Scaled(gymnasium.make("roboopt/CartPoleBalance-v0"))
    for env in (gymnasium.make("CartPole-v1"), scaled):
        with pytest.raises(ro.RobooptError, match="`env` must have"):
            ro.imitation.demonstrator(env)
        env.close()
