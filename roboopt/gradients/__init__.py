"""Gradient estimators: automatic, zeroth-order, and a mixture of both."""

from roboopt.gradients._automatic import Automatic as Automatic
from roboopt.gradients._automatic import Gradient as Gradient
from roboopt.gradients._mixed import Mixed as Mixed
from roboopt.gradients._zeroth_order import ZerothOrder as ZerothOrder
