"""Cart-poles and arms in PyBullet under the Gymnasium API, and their tasks.

Importing this package registers `roboopt/CartPoleBalance-v0`,
`roboopt/CartPoleSwingUp-v0`, `roboopt/ArmReach-v0`, `roboopt/ArmTrack-v0` and
`roboopt/RobotTask-v0` with Gymnasium if Gymnasium is installed. `roboopt_envs.tasks`
needs neither Gymnasium nor PyBullet.
"""

from ._registration import register as _register
from ._silence import import_pybullet_silently as import_pybullet_silently

_register()
