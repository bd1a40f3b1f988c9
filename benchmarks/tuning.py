"""What `roboopt tune` reaches: every robot and task, tested in PyBullet.

`ro.tune` with its defaults, as the command has them: the starting and the tuned
controller run from the same 100 random starts in PyBullet. Prints for each robot and
task the success, the task cost and the energy before and after, the largest difference
between twin and PyBullet over all motions, and the seconds of the descent.

    python benchmarks/tuning.py [balance swing-up two-link iiwa panda]
"""

import sys
from typing import Any

import jax

import roboopt as ro

jax.config.update("jax_enable_x64", True)

RUNS: dict[str, dict[str, Any]] = {
    "balance": {"env": "cart-pole", "task": "balance"},
    "swing-up": {"env": "cart-pole", "task": "swing-up"},
    **{robot: {"env": "arm", "robot": robot} for robot in ro.tuning.ROBOTS},
}


def main() -> None:
    """Tune and test what the arguments name, or everything."""
    for name in sys.argv[1:] or RUNS:
        tuned = ro.tune(**RUNS[name])
        found, compared = tuned.result, tuned.comparison
        assert compared is not None  # Ctrl-C in the test ends the benchmark.
        print(
            f"{name}: {found.message}; {found.seconds:.1f} s, of which the first "
            f"step with its compilation {found.compile_seconds:.1f} s"
        )
        values = {row.name: row.values["PyBullet"] for row in compared.rows}
        work, loss = values["mechanical work"], values["Joule loss"]
        shown = {
            "success": {
                when: count / compared.episodes
                for when, count in compared.successes["PyBullet"].items()
            },
            "task cost [s]": values["task cost"],
            "energy [J]": {when: work[when] + loss[when] for when in work},
            "twin − PyBullet": {
                when: max(gaps.values()) for when, gaps in compared.gaps.items()
            },
        }
        for key, pair in shown.items():
            print(f"    {key:16} {pair['before']:12.5g} → {pair['after']:.5g}")


if __name__ == "__main__":
    main()
