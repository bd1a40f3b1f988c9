"""What is trained how: an objective, a model and data for each kind of gradient."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from roboopt._errors import RobooptError
from roboopt.diagnose import HorizonNorms
from roboopt.rl._setting import Setting
from roboopt.rollouts import Episode

GRADIENTS = ("likelihood", "analytic", "smoothed", "mixed")
RECENT = 100  # episodes, that a mean return is of


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None is for the recipe to choose."""

    policy: Any = None
    gradient: str | None = None
    timesteps: int | None = None
    envs: int | None = None
    processes: int = 0
    seed: int = 0
    network: Mapping[str, Any] = field(default_factory=dict)
    """`width`, `depth`, `angles`, … of what is made anew."""

    def fresh(self, setting: Setting) -> bool:
        """Return whether a network is made anew, where no policy says otherwise."""
        arm = setting.kind == "ArmReach"
        return (
            self.policy == "network"
            if isinstance(self.policy, str)
            else (self.policy is None and not arm)
        )

    @property
    def key(self) -> Any:
        """Return the key of the weights."""
        return jax.random.key(self.seed)


@dataclass(frozen=True)
class Recipe:
    """All that a descent on the negative reward needs."""

    gradient: str
    agent: Any
    """What is tuned."""
    objective: Any
    data: Any
    settings: dict[str, Any]
    """Of `minimize`: steps, the optimizer, the gradient, the batch."""
    timesteps_of: Callable[[int], int]
    """Steps in the environment that so many gradient steps take."""
    said: dict[str, str]
    """What was chosen, in words."""
    episodes: Callable[[], Sequence[Episode]] | None = None
    """All that ended so far, where the data come from acting."""
    measure: Callable[[Any], list[Episode]] | None = None
    """Runs the model as it is, where they do not."""
    gradient_of: Callable[[Any], HorizonNorms] | None = None
    """Of the model as it is, where the descent itself does not note its gradient's
    norm and noise."""
    acting: Callable[[Any], Any] = lambda model: model
    """Makes of what is tuned what acts."""
    horizon: int | None = None
    """Steps of simulation that the gradient goes through, where it does."""
    norm_by_horizon: Callable[[Any], HorizonNorms] | None = None
    """Of what acts, where there is a twin to differentiate through."""
    fresh: bool = False
    """Whether the policy begins with weights drawn at random."""
    reused: int = 1
    """Gradient steps on the same samples."""
    close: Callable[[], None] = lambda: None
    recent: int = RECENT
    """Episodes that the mean return, and the target, are of."""


def gradient_for(setting: Setting, wishes: Wishes) -> str:
    """Return the kind of gradient that is wished for, or fits.

    Raises:
        RobooptError: if there is no such kind, or it needs a twin and there is none.
    """
    kind = wishes.gradient
    if kind is None:
        return "likelihood" if setting.kind is None else "analytic"
    if kind not in GRADIENTS:
        raise RobooptError(f"`gradient` must be one of {GRADIENTS}, got {kind!r}.")
    if kind in ("analytic", "mixed") and setting.kind is None:
        raise RobooptError(
            f"`gradient` {kind!r} needs a twin of the environment in JAX, and "
            f"{setting.name} has none: choose 'likelihood' or 'smoothed'."
        )
    if kind in ("smoothed", "mixed") and setting.horizon is None:
        raise RobooptError(
            f"`gradient` {kind!r} needs episodes that end: give `max_steps`."
        )
    return kind
