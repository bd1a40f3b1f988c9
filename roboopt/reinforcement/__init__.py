"""Learning from reward: worlds to act in, and what is learned from acting."""

from roboopt.reinforcement._analytic_optimizer import analytic_optimizer
from roboopt.reinforcement._experiences import Experiences, Progress
from roboopt.reinforcement._natural_optimizer import natural_optimizer
from roboopt.reinforcement._optimizer import on_policy_optimizer
from roboopt.reinforcement._reinforce import Learning, Reinforcement, reinforce
from roboopt.reinforcement._returns import Returns
from roboopt.reinforcement._trials import Trials
from roboopt.reinforcement._twin_world import TwinWorld
from roboopt.reinforcement._vector_world import VectorWorld
from roboopt.reinforcement._windows import Windows
from roboopt.reinforcement._world import Episode, Steps, World

__all__ = [
    "Episode",
    "Experiences",
    "Learning",
    "Progress",
    "Reinforcement",
    "Returns",
    "Steps",
    "Trials",
    "TwinWorld",
    "VectorWorld",
    "Windows",
    "World",
    "analytic_optimizer",
    "natural_optimizer",
    "on_policy_optimizer",
    "reinforce",
]
