"""Policies: feedback controllers, networks, distributions, and wrappers."""

from roboopt.policies._actor_critic import ActorCritic as ActorCritic
from roboopt.policies._cartesian_impedance import (
    CartesianImpedance as CartesianImpedance,
)
from roboopt.policies._categorical import CategoricalPolicy as CategoricalPolicy
from roboopt.policies._clipped import Clipped as Clipped
from roboopt.policies._clipped import within_limits as within_limits
from roboopt.policies._computed_torque import ComputedTorque as ComputedTorque
from roboopt.policies._control_law import ControlLaw as ControlLaw
from roboopt.policies._distributions import Categorical as Categorical
from roboopt.policies._distributions import EntropyPolicy as EntropyPolicy
from roboopt.policies._distributions import Normal as Normal
from roboopt.policies._distributions import NormalMixture as NormalMixture
from roboopt.policies._distributions import StochasticPolicy as StochasticPolicy
from roboopt.policies._distributions import TanhNormal as TanhNormal
from roboopt.policies._disturbances import Delayed as Delayed
from roboopt.policies._disturbances import LowPass as LowPass
from roboopt.policies._disturbances import ObservationNoise as ObservationNoise
from roboopt.policies._error_feedback import ErrorFeedback as ErrorFeedback
from roboopt.policies._flow import FlowPolicy as FlowPolicy
from roboopt.policies._fourier import FourierReference as FourierReference
from roboopt.policies._gaussian import GaussianExploration as GaussianExploration
from roboopt.policies._gaussian import GaussianPolicy as GaussianPolicy
from roboopt.policies._gaussian import GMMPolicy as GMMPolicy
from roboopt.policies._gaussian import TanhGaussianPolicy as TanhGaussianPolicy
from roboopt.policies._gravity_compensated import (
    GravityCompensated as GravityCompensated,
)
from roboopt.policies._joint_control import (
    PDGravityCompensation as PDGravityCompensation,
)
from roboopt.policies._joint_control import TrackingController as TrackingController
from roboopt.policies._linear import LinearFeedback as LinearFeedback
from roboopt.policies._linear_policy import LinearPolicy as LinearPolicy
from roboopt.policies._memory import ActionChunking as ActionChunking
from roboopt.policies._memory import ActionNoise as ActionNoise
from roboopt.policies._memory import ObservationHistory as ObservationHistory
from roboopt.policies._memory import SampleActions as SampleActions
from roboopt.policies._mlp import MLPPolicy as MLPPolicy
from roboopt.policies._past_actions import PastActions as PastActions
from roboopt.policies._past_actions import with_past_actions as with_past_actions
from roboopt.policies._pid import PID as PID
from roboopt.policies._policy_network import NetworkSettings as NetworkSettings
from roboopt.policies._protocol import OpenLoop as OpenLoop
from roboopt.policies._protocol import StatefulPolicy as StatefulPolicy
from roboopt.policies._protocol import TimeVaryingPolicy as TimeVaryingPolicy
from roboopt.policies._protocol import act as act
from roboopt.policies._protocol import acts_by_chance as acts_by_chance
from roboopt.policies._protocol import draw as draw
from roboopt.policies._protocol import initial_carry as initial_carry
from roboopt.policies._protocol import observe as observe
from roboopt.policies._relative import RelativeActions as RelativeActions
from roboopt.policies._setpoint_shaping import SetpointShaping as SetpointShaping
from roboopt.policies._spaces import check_action_space as check_action_space
from roboopt.policies._spaces import check_observation_space as check_observation_space
from roboopt.policies._spaces import observation_size as observation_size
from roboopt.policies._spline import OpenLoopSpline as OpenLoopSpline
from roboopt.policies._stable import StablePolicy as StablePolicy
from roboopt.policies._swing_up import EnergyShapingSwingUp as EnergyShapingSwingUp
