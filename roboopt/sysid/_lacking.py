"""What a fit of the motion leaves beyond noise: the model lacks something.

The noise of a measured state is the same for one step of the model as for one step at
constant velocity, which no acceleration at all explains.
"""

from roboopt.dynamics import ParametricTwin
from roboopt.sysid._effort_errors import WORSE_RATIO
from roboopt.sysid._forecast import Forecasts

MAX_RATIO = 3.0  # of the errors of one step, with which intervals still hold in part
LACKING = (
    "what the model lacks moves the estimates, which their intervals count only in "
    "part."
)


def is_far_off(made: Forecasts | None, model: ParametricTwin) -> bool:
    """Return whether a fit of the motion leaves so much that no interval holds."""
    if made is None:
        return False
    return not all(ratio <= MAX_RATIO for ratio in _ratios(made, model).values())


def lacking_sentences(made: Forecasts, model: ParametricTwin) -> list[str]:
    """Return for which joints a fit of the motion leaves more than noise."""
    ratios = _ratios(made, model)
    names = ", ".join(name for name, ratio in ratios.items() if ratio > WORSE_RATIO)
    if not names:
        return []
    if is_far_off(made, model):
        return [
            f"The fit leaves far more of the motion of {names} than noise: the model "
            "lacks something, and its estimates are not judged."
        ]
    return [f"The fit leaves more of the motion of {names} than noise: {LACKING}"]


def _ratios(made: Forecasts, model: ParametricTwin) -> dict[str, float]:
    """Return each joint's error of one step over that of constant velocity."""
    errors, names = made.beyond_rounding(), model.robot.joint_names
    ratios = errors["fitted"][0] / errors["constant velocity"][0]
    return dict(zip(names, ratios.tolist(), strict=False))
