"""System identification: a robot's parameters fitted to recordings."""

from roboopt.sysid._base_parameters import BaseParameter as BaseParameter
from roboopt.sysid._effort_errors import EffortErrors as EffortErrors
from roboopt.sysid._excitation import Excitation as Excitation
from roboopt.sysid._excitation import design_excitation as design_excitation
from roboopt.sysid._excitation import excite as excite
from roboopt.sysid._forecast import ConstantVelocity as ConstantVelocity
from roboopt.sysid._forecast import Forecasts as Forecasts
from roboopt.sysid._forecast import forecasts as forecasts
from roboopt.sysid._identify import identify as identify
from roboopt.sysid._noise import cutoff_frequency as cutoff_frequency
from roboopt.sysid._noise import noise_share as noise_share
from roboopt.sysid._parameters import Parameter as Parameter
from roboopt.sysid._result import IdentifyResult as IdentifyResult
from roboopt.sysid._result import Source as Source
from roboopt.sysid._robot import KnownRobot as KnownRobot
from roboopt.sysid._simulation import Simulations as Simulations
