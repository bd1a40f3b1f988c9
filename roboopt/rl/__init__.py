"""Reinforcement learning: policies improved by their reward."""

from roboopt.rl._analytic_optimizer import analytic_optimizer as analytic_optimizer
from roboopt.rl._experiences import Experiences as Experiences
from roboopt.rl._experiences import Progress as Progress
from roboopt.rl._natural_optimizer import natural_optimizer as natural_optimizer
from roboopt.rl._optimizer import on_policy_optimizer as on_policy_optimizer
from roboopt.rl._parameter_noise import ParameterNoise as ParameterNoise
from roboopt.rl._reinforce import Learning as Learning
from roboopt.rl._reinforce import ReinforceResult as ReinforceResult
from roboopt.rl._reinforce import reinforce as reinforce
from roboopt.rl._returns import Returns as Returns
from roboopt.rl._trials import Trials as Trials
from roboopt.rl._windows import Windows as Windows
