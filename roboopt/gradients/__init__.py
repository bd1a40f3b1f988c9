"""Gradient estimators: automatic, zeroth-order, and a mixture of both."""

from roboopt.gradients._automatic import Automatic as Automatic
from roboopt.gradients._estimator import Estimator as Estimator
from roboopt.gradients._estimator import FunctionEstimator as FunctionEstimator
from roboopt.gradients._estimator import LossFn as LossFn
from roboopt.gradients._estimator import differentiable as differentiable
from roboopt.gradients._estimator import inner as inner
from roboopt.gradients._estimator import norm as norm
from roboopt.gradients._estimator import relative_gradient as relative_gradient
from roboopt.gradients._mixed import Mixed as Mixed
from roboopt.gradients._refusals import differentiating as differentiating
from roboopt.gradients._refusals import require_objective as require_objective
from roboopt.gradients._zeroth_order import ZerothOrder as ZerothOrder
