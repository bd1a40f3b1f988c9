"""Rollouts: a policy run in JAX or in any Gymnasium environment."""

from roboopt.rollouts._collect import collect as collect
from roboopt.rollouts._collect import episode_seed as episode_seed
from roboopt.rollouts._env_group import time_step_of as time_step_of
from roboopt.rollouts._env_spec import EnvSpec as EnvSpec
from roboopt.rollouts._evaluate import Estimate as Estimate
from roboopt.rollouts._evaluate import Evaluation as Evaluation
from roboopt.rollouts._evaluate import evaluate as evaluate
from roboopt.rollouts._gym_rollout import GymRollout as GymRollout
from roboopt.rollouts._gym_vector_env import GymVectorEnv as GymVectorEnv
from roboopt.rollouts._pool import EnvError as EnvError
from roboopt.rollouts._pool import Pool as Pool
from roboopt.rollouts._rollout import PolicyStep as PolicyStep
from roboopt.rollouts._rollout import Rollout as Rollout
from roboopt.rollouts._rollout import faded as faded
from roboopt.rollouts._signals import Signal as Signal
from roboopt.rollouts._signals import Signals as Signals
from roboopt.rollouts._signals import signals as signals
from roboopt.rollouts._twin_rollout import TwinMatch as TwinMatch
from roboopt.rollouts._twin_rollout import register_twin as register_twin
from roboopt.rollouts._twin_rollout import twin_rollout as twin_rollout
from roboopt.rollouts._twin_vector_env import TwinVectorEnv as TwinVectorEnv
from roboopt.rollouts._vector_env import Episode as Episode
from roboopt.rollouts._vector_env import Steps as Steps
from roboopt.rollouts._vector_env import VectorEnv as VectorEnv
from roboopt.rollouts._vector_env import as_episodes as as_episodes
