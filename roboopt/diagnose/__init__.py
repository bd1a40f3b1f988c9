"""Diagnostics: identifiability, gradient quality, and checks of recorded data."""

from roboopt.diagnose._base_parameters import Combination as Combination
from roboopt.diagnose._demonstration_checks import (
    check_demonstrations as check_demonstrations,
)
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
from roboopt.diagnose._recording_checks import check_recordings as check_recordings
