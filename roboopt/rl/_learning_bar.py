"""The returns on the terminal as they come; with rich if it is installed."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from roboopt.rl._recipe import Recipe


@contextlib.contextmanager
def learning_bar(
    made: Recipe, timesteps: int | None, wanted: bool
) -> Iterator[Callable[[Any], None]]:
    """Print what was chosen, and yield what takes a `Learning` and shows it.

    Args:
        made: what is learned how.
        timesteps: after which it ends, where the user said so.
        wanted: whether to show anything.
    """
    if not wanted:
        yield lambda learning: None
        return
    for what, said in made.said.items():
        print(f"{what}: {said}", file=sys.stderr)
    total = timesteps or made.timesteps_of(made.settings["steps"] - 1)
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError:
        yield lambda learning: _plain(learning, total)
        print(file=sys.stderr)
        return
    columns = TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling", total=total)

        def update(learning: Any) -> None:
            done = min(learning.timesteps, total)
            bar.update(task, completed=done, description=described(learning, total))

        yield update


def described(learning: Any, total: int) -> str:
    """Return the recent returns and how far it is, in one line."""
    earned = "no episode over yet"
    if learning.episodes:
        mean, spread = f"{learning.mean_return:.4g}", f"{learning.spread:.2g}"
        earned = f"return {mean} ± {spread} (last {learning.episodes})"
    done, all_ = (f"{n:,}".replace(",", " ") for n in (learning.timesteps, total))
    return f"{earned}, {done} of {all_} timesteps"


def _plain(learning: Any, total: int) -> None:
    line = described(learning, total)
    print(f"\r{line} ", end="", file=sys.stderr, flush=True)
