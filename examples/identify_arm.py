"""Fit a real two-link arm to recordings, and forecast a motion that it has not seen.

The URDF beside the recordings describes the arm as designed. What is fitted are masses,
centers of mass, inertias and friction; three recordings train, the fourth is predicted.
"""

from pathlib import Path

import jax

import roboopt as ro

jax.config.update("jax_enable_x64", True)
ARM = Path(__file__).parent / "double_pendulum"


def main() -> float:
    """Fit, forecast, and return the ratio of the forecast errors, before to after."""
    runs = ro.data.load_recordings(ARM / "recordings", joints=["shoulder", "elbow"])
    result = ro.identify(
        ARM / "double_pendulum.urdf",
        runs[:3],
        held_out=runs[3:],
        free=("mass", "center_of_mass.z", "extent.z", "damping", "friction"),
    )
    print(result)
    assert result.forecasts is not None
    ratio = result.forecasts.ratio("fitted", "URDF", joints=2)[-1]
    print(f"half a second ahead, the fit divides the URDF's error by {ratio:.2f}")
    return float(ratio)


if __name__ == "__main__":
    main()
