"""Reinforcement learning: policies improved by their reward."""

from roboopt.rl._advantages import generalized_advantages as generalized_advantages
from roboopt.rl._analytic import AnalyticGradient as AnalyticGradient
from roboopt.rl._monitor import LearningStatus as LearningStatus
from roboopt.rl._parameter_noise import ParameterNoise as ParameterNoise
from roboopt.rl._pgpe import PGPE as PGPE
from roboopt.rl._ppo import PPO as PPO
from roboopt.rl._reinforce import ALGORITHMS as ALGORITHMS
from roboopt.rl._reinforce import reinforce as reinforce
from roboopt.rl._result import ReinforceResult as ReinforceResult
from roboopt.rl._returns import Returns as Returns
from roboopt.rl._shac import SHAC as SHAC
from roboopt.rl._zeroth_order import MixedGradient as MixedGradient
from roboopt.rl._zeroth_order import ZerothOrderGradient as ZerothOrderGradient
