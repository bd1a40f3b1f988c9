"""Diagnostics: identifiability, gradient quality, and checks of recorded data."""

from roboopt.diagnose._base_parameters import Combination as Combination
from roboopt.diagnose._chain import chain as chain
from roboopt.diagnose._chain_result import Chain as Chain
from roboopt.diagnose._chain_result import ChainNode as ChainNode
from roboopt.diagnose._chain_result import ChainPath as ChainPath
from roboopt.diagnose._chain_result import ScanNorms as ScanNorms
from roboopt.diagnose._check_gradient import GradientCheck as GradientCheck
from roboopt.diagnose._check_gradient import SlopeCheck as SlopeCheck
from roboopt.diagnose._check_gradient import check_gradient as check_gradient
from roboopt.diagnose._covariance import score_covariance as score_covariance
from roboopt.diagnose._demonstration_checks import (
    check_demonstrations as check_demonstrations,
)
from roboopt.diagnose._descent_gradients import ENDS as ENDS
from roboopt.diagnose._descent_gradients import KEPT_START as KEPT_START
from roboopt.diagnose._descent_gradients import explain_descent as explain_descent
from roboopt.diagnose._descent_gradients import explain_residuals as explain_residuals
from roboopt.diagnose._descent_gradients import gradient_section as gradient_section
from roboopt.diagnose._descent_path import DescentPath as DescentPath
from roboopt.diagnose._explain import explain as explain
from roboopt.diagnose._explanation import Explanation as Explanation
from roboopt.diagnose._explanation import TermShare as TermShare
from roboopt.diagnose._explanation import TimeSplit as TimeSplit
from roboopt.diagnose._finding import Finding as Finding
from roboopt.diagnose._gradient_health import HISTORY_TITLES as HISTORY_TITLES
from roboopt.diagnose._gradient_health import gradient_health as gradient_health
from roboopt.diagnose._gradient_health import (
    mask_constant_returns as mask_constant_returns,
)
from roboopt.diagnose._identifiability import (
    IdentifiabilityReport as IdentifiabilityReport,
)
from roboopt.diagnose._identifiability import identifiability as identifiability
from roboopt.diagnose._norm_by_horizon import HorizonNorms as HorizonNorms
from roboopt.diagnose._norm_by_horizon import norm_by_horizon as norm_by_horizon
from roboopt.diagnose._recording_checks import WRONG_UNITS as WRONG_UNITS
from roboopt.diagnose._recording_checks import check_recordings as check_recordings
