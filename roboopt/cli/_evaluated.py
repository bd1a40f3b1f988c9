"""Judging who acts in an environment: fresh episodes, the same for all."""

from typing import Any

import roboopt as ro
from roboopt.report import progress_bar


def evaluated(
    arguments: Any, env: Any, actors: dict[str, Any], seed: int
) -> dict[str, ro.rollouts.Evaluation]:
    """Return what each of the actors did, under a progress bar.

    Args:
        arguments: of a command, with `episodes` and `max_steps`.
        env: the environment.
        actors: by name.
        seed: of the episodes.
    """
    judged = {}
    with progress_bar("evaluating", len(actors) * arguments.episodes) as advance:
        for name, actor in actors.items():
            judged[name] = ro.evaluate(
                env,
                actor,
                episodes=arguments.episodes,
                seed=seed,
                max_steps=arguments.max_steps,
                progress=lambda _: advance(),
            )
    return judged
