"""Tune an arm that takes position commands at 50 Hz, as hobby servos do.

The firmware follows each position by a proportional loop and a DC motor with a gear;
commands arrive 8 ms late. Without integral action the loop droops under gravity: the
tuned controller shapes setpoints with lead, damping and a compensation of the droop.
"""

import jax

import roboopt as ro

jax.config.update("jax_enable_x64", True)

SERVO = {
    "resistance": 2.0,  # Ω
    "torque_constant": 0.02,  # N·m/A
    "gear_ratio": (150, 120),
    "supply_voltage": 12.0,  # V
    "position_gain": 40.0,  # V/rad
    "delay": 0.008,  # s
}


def main(steps: int = 15, episodes: int = 20) -> float:
    """Tune, judge in PyBullet, and return the fraction of goals reached."""
    options = {"interface": "position", "drive": SERVO}
    options |= {"control_period": 1 / 50, "time_step": 1 / 250}
    result = ro.tune(
        "arm", options=options, steps=steps, episodes=episodes, processes=0
    )
    print(result)
    assert result.comparison is not None
    reached = result.comparison.successes["PyBullet"]
    print(f"goals reached in PyBullet: {reached['before']}, tuned {reached['after']}")
    return reached["after"] / episodes


if __name__ == "__main__":
    main()
