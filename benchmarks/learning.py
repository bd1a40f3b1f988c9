"""What `roboopt.reinforce` reaches by its defaults, and what that takes.

Each task is learned as the command does it, and the policy judged over fresh episodes.
Prints success, where the environment says what that is, the mean return with its 95 %
interval, the environment steps taken and the seconds of the learning.

    python benchmarks/learning.py [--seed N] [cart-pole pendulum swing-up two-link ...]
"""

import sys
from typing import Any

import roboopt as ro

TASKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "cart-pole": ("CartPole-v1", {"timesteps": 100_000}, 100),
    "pendulum": ("Pendulum-v1", {"timesteps": 400_000}, 750),
    "swing-up": ("roboopt/CartPoleSwingUp-v0", {}, 100),
    "swing-up-likelihood": (
        "roboopt/CartPoleSwingUp-v0",
        {"gradient": "likelihood", "timesteps": 20_000_000},
        100,
    ),
    "two-link": ("roboopt/ArmReach-v0", {}, 100),
    "two-link-likelihood": ("roboopt/ArmReach-v0", {"gradient": "likelihood"}, 100),
    "two-link-zeroth-order": (
        "roboopt/ArmReach-v0",
        {"gradient": "zeroth-order", "processes": 2},
        100,
    ),
    "panda": ("roboopt/ArmReach-v0", {"options": {"robot": "panda"}}, 100),
    "panda-likelihood": (
        "roboopt/ArmReach-v0",
        {"options": {"robot": "panda"}, "gradient": "likelihood"},
        100,
    ),
    "panda-zeroth-order": (
        "roboopt/ArmReach-v0",
        {
            "options": {"robot": "panda"},
            "gradient": "zeroth-order",
            "processes": 2,
            "timesteps": 2_500_000,
        },
        100,
    ),
}
SHORT = ("cart-pole", "pendulum", "swing-up", "two-link", "panda")


def main() -> None:
    """Learn what the arguments name, or what takes minutes."""
    words = sys.argv[1:]
    seed = 0
    if words[:1] == ["--seed"]:
        seed, words = int(words[1]), words[2:]
    for name in words or SHORT:
        env, settings, episodes = TASKS[name]
        learned = ro.reinforce(env, seed=seed, episodes=episodes, **settings)
        print(
            f"{name}, {learned.algorithm}: {learned.evaluation}; {learned.timesteps} "
            f"steps, {learned.seconds:.0f} s",
            flush=True,
        )
        for finding in learned.health:
            print(f"    {finding.message}")


if __name__ == "__main__":
    main()
