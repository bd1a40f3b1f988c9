"""The environments' Gymnasium ids."""

from importlib.util import find_spec


def register() -> None:
    """Register every environment with Gymnasium, if Gymnasium is installed."""
    if find_spec("gymnasium") is None:
        return
    import gymnasium

    for path in (
        "cart_pole:CartPoleBalance",
        "cart_pole:CartPoleSwingUp",
        "arm:ArmReach",
        "arm_track:ArmTrack",
        "robot:RobotTask",
    ):
        name = f"roboopt/{path.partition(':')[2]}-v0"
        gymnasium.register(name, entry_point=f"roboopt_envs.{path}")
