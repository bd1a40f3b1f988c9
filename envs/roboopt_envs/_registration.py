"""The environments' Gymnasium ids."""

from importlib.util import find_spec


def register() -> None:
    """Register every environment with Gymnasium, if Gymnasium is installed.

    An environment's module, and with it PyBullet, loads when the environment is made.
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
