"""Cart-poles and arms in PyBullet under the Gymnasium API, and their tasks.

Importing this package registers `roboopt/CartPoleBalance-v0`,
`roboopt/CartPoleSwingUp-v0` and `roboopt/ArmReach-v0` with Gymnasium where that is
installed. `roboopt_envs.tasks` needs NumPy alone.
"""

from ._registration import register as _register

_register()
