"""Learn to balance CartPole-v1 from its reward, by proximal policy optimization.

The settings of the algorithm are keywords of an object; the verb collects, descends and
judges the policy on 100 episodes that it has not learned from.
"""

import jax

import roboopt as ro

jax.config.update("jax_enable_x64", True)


def main(timesteps: int = 60_000) -> float:
    """Learn, judge, and return the mean return."""
    ppo = ro.rl.PPO(discount=0.98, gae_lambda=0.8, learning_rate=1e-3)
    result = ro.reinforce("CartPole-v1", algorithm=ppo, timesteps=timesteps, seed=0)
    print(result)
    assert result.evaluation is not None
    judged = result.evaluation.mean_return
    print(f"mean return of 100 new episodes: {judged.value:.1f} of 500")
    return judged.value


if __name__ == "__main__":
    main()
