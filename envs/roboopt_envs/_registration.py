"""Gymnasium's names for the environments, given where Gymnasium is installed."""

from importlib.util import find_spec


def register():
    """Register every environment with Gymnasium, if it is installed.

    Their modules, and with them PyBullet, load only when one is made.
    """
    if find_spec("gymnasium") is None:
        return
    import gymnasium

    for name, module in {
        "CartPoleBalance": "cart_pole",
        "CartPoleSwingUp": "cart_pole",
        "ArmReach": "arm",
    }.items():
        gymnasium.register(
            f"roboopt/{name}-v0", entry_point=f"roboopt_envs.{module}:{name}"
        )
