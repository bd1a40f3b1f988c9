"""The demonstrations that are cloned: loaded, checked, and split by episode.

Three parts, since a part that selects a policy flatters it (Hastie et al., 2009, The
elements of statistical learning, §7.2): the training episodes, of which gradients are
taken; the validation episodes, by which the best policy on the way is selected; and the
held-out episodes, which nothing uses until the clone is judged. A single episode is
split in time, its end being held out.
"""

import dataclasses
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError, argument_called
from roboopt.data import (
    Demonstrations,
    StreamedDemonstrations,
    Trajectory,
    episode_masks,
    is_episode_folder,
    is_frame,
    load_episodes,
    not_among,
    single_recordings,
    split_episodes,
    split_in_time,
)
from roboopt.diagnose import Finding, check_demonstrations
from roboopt.imitation._baselines import usual_action
from roboopt.imitation._in_memory import is_plain, named_arrays, with_choices
from roboopt.imitation._masks import by_masks
from roboopt.policies import with_past_actions
from roboopt.rollouts import Signals, told_time_step

HELD_OUT = 0.1  # of the episodes
MIN_HELD_OUT = 5  # episodes, on which an error depends less than on one or two
MAX_HELD_OUT = 0.25  # of the episodes, where a tenth are fewer than these
OUT_OF_RANGE = "action_out_of_range"
OTHER_STEP = "other_time_step"
TOLD_AT_ONCE = "outlying_samples", "jumping_observations"
"""Findings of which a warning tells before the training."""
UNTOLD_STEP_S = 1.0  # of demonstrations whose time step nothing tells
MAX_STEP_DIFFERENCE = 0.01  # of the environment's time step
SEEN = "observations", "actions"
PARTS = "training", "validation", "held_out", "known"
VALIDATION = 0.2  # of the others
VALIDATION_SEED_OFFSET = 4_000_037
MAX_BYTES_IN_MEMORY = 2**30
MAX_EPISODES_CHECKED = 20  # of a folder that does not fit in memory
MAX_SAMPLES_FITTED = 50_000  # that normalizers are fitted to, of such a folder


@dataclass(frozen=True)
class DemonstrationSet:
    """Episodes to learn from, and whole episodes that are held out."""

    training: Sequence[Trajectory]
    validation: Sequence[Trajectory]
    """Episodes that select the policy; may be none."""
    held_out: Sequence[Trajectory]
    whole: Sequence[Trajectory]
    """All but the held-out episodes; where there is one in all, the whole of it."""
    folder: Path | None
    """The folder of episodes that do not fit in memory; the parts are some of them."""
    findings: list[Finding]
    fractions: tuple[float, float]
    """The shares held out, and of the rest for validation."""
    seed: int
    split: str
    """How the held-out ones were chosen, in words."""
    time_step: float | None
    """[s]; None where no argument, file or environment tells it."""
    first_action: np.ndarray
    """What counts as the action before an episode: a usual first one of the known."""
    past_actions: int = 0
    """How many of the last actions are appended to each observation."""
    names: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    """Those of the axes of "observations" and "actions", where the source tells."""
    source: str = ""
    """The name of the file or folder; empty where they came from Python."""

    @classmethod
    def load(
        cls,
        source: Any,
        env: Any,
        *,
        held_out: Any = None,
        validation: Any = None,
        clip: bool = False,
        seed: int,
        time_step: float | None,
        observation_keys: Sequence[str] | None = None,
    ) -> "DemonstrationSet":
        """Load demonstrations, check them, and set some episodes aside.

        `held_out` is a fraction, or demonstrations; None for those that a mask of the
        file names, or else `default_share`. `validation` is a fraction of the others,
        which may be 0, or demonstrations; None for `VALIDATION`. Actions beyond the
        limits of the environment are clipped, which is a finding without `clip`, and
        another time step than the environment's is one. Where nothing tells that of the
        demonstrations, it is the environment's.
        """
        names: dict[str, list[str]] = {}
        reading = {"time_step": time_step, "observation_keys": observation_keys}
        reading["names"] = names
        own = None if env is None else told_time_step(env)
        reading["default_time_step"] = own or UNTOLD_STEP_S
        named = held_out is not None and not isinstance(held_out, int | float)
        episodes, masks, folder = _read(source, reading, seed, folders=not named)
        fraction = HELD_OUT if named or held_out is None else held_out
        if held_out is None and folder is None:
            fraction = default_share(len(episodes))
        aside = _alike(held_out, reading, "held_out", episodes) if named else []
        share = VALIDATION if validation is None else validation
        selecting: Sequence[Trajectory] = []
        if not isinstance(share, int | float):
            selecting, share = _alike(share, reading, "validation", episodes), 0.0
        findings = _checked([*episodes, *selecting, *aside], env)
        findings = [_named(finding, names) for finding in findings]
        for finding in findings:
            if finding.code in TOLD_AT_ONCE:
                warnings.warn(f"`demonstrations`: {finding}", stacklevel=4)
        if clip or any(f.code == OUT_OF_RANGE for f in findings):
            parts = episodes, selecting, aside
            episodes, selecting, aside = (_clipped(part, env) for part in parts)
        if clip:
            findings = [f for f in findings if f.code != OUT_OF_RANGE]
        rest: Sequence[int] = range(len(episodes))
        if named or selecting:
            rest = not_among(episodes, [*selecting, *aside])
            if not rest:
                raise RobooptError(
                    f"`{'held_out' if named else 'validation'}` must leave episodes to "
                    "learn from, got all of `demonstrations`."
                )
        rest, masked = by_masks(masks if held_out is None else {}, rest, source)
        whole = [episodes[k] for k in rest]
        if named:
            training, split = whole, "as named"
        elif masked:
            training = whole
            aside, split = [episodes[k] for k in masked], "as masked"
        elif len(whole) > 1:
            training, aside = split_episodes(whole, fraction, seed=seed)
            whole, split = training, "by episode"
        elif (steps := whole[0].steps) > 1:
            *training, end = split_in_time(whole[0], fraction)
            aside, split = [end], "from the end of the only episode"
        else:
            raise RobooptError(
                "`demonstrations` must hold at least two samples, one of them to be "
                f"held out, got {steps}."
            )
        # Before one is split in time: parts begin anywhere.
        firsts = [np.asarray(e.actions)[0] for e in (*whole, *selecting)]
        if share and len(training) > 1:
            other = seed + VALIDATION_SEED_OFFSET
            training, selecting = split_episodes(training, share, seed=other)
        elif share and training[0].steps > 1:
            *training, end = split_in_time(training[0], share)
            selecting = [end]
        parts = training, selecting, aside, whole
        shares = float(fraction), float(share)
        step: float | None = float(episodes[0].time_step)
        if time_step is None and own is None and step == UNTOLD_STEP_S:
            step = None
        is_file = isinstance(source, str | PathLike)
        told = usual_action(np.stack(firsts)), 0, names
        called = Path(source).name if is_file else ""
        return cls(*parts, folder, findings, shares, seed, split, step, *told, called)

    @property
    def signals(self) -> Signals:
        """Return the axes of observations and actions by name."""
        first = self.training[0]
        shapes = {name: np.shape(getattr(first, name)) for name in SEEN}
        sizes = {name: shape[-1] for name, shape in shapes.items()}
        return Signals.named(self.names, sizes)

    @property
    def known(self) -> list[Trajectory]:
        """Return all episodes but the held-out ones."""
        return [*self.training, *self.validation]

    def with_past_actions(self, length: int) -> "DemonstrationSet":
        """Return the set with the last actions appended to each observation."""
        if not length:
            return self
        if self.folder is not None:
            raise RobooptError(
                "`past_actions` needs demonstrations that fit in memory, got "
                f"{length} with {self.folder}: give 0."
            )
        names = "training", "validation", "held_out"
        parts = {
            name: with_past_actions(
                getattr(self, name), self.first_action, length=length
            )
            for name in names
        }
        return dataclasses.replace(self, past_actions=length, **parts)

    def require_longer(self, **windows: int | None) -> None:
        """Refuse windows longer than all episodes; warn of those longer than some."""
        lengths = [episode.steps for episode in self.whole]
        shortest, longest = min(lengths), max(lengths)
        span = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
        for name, value in windows.items():
            rule = (
                f"`{name}` must be at most the steps of the longest episode to learn "
                f"from, {longest}, got {value}: the episodes have {span} steps."
            )
            if (value or 0) > longest:
                raise RobooptError(rule)
            if (short := sum(steps < (value or 0) for steps in lengths)) > 0:
                warnings.warn(
                    f"`{name}` is {value}, but {short} of the {len(lengths)} episodes "
                    f"to learn from are shorter: the episodes have {span} steps.",
                    stacklevel=4,
                )

    def samples(
        self, **cut: Any
    ) -> tuple[dict[str, Demonstrations], StreamedDemonstrations | None]:
        """Return the samples by part, also of all "known", and the source on disk."""
        source = None
        if self.folder is None:
            runs = {name: getattr(self, name) for name in PARTS if getattr(self, name)}
            parts = {
                name: Demonstrations.from_trajectories(run, **cut)
                for name, run in runs.items()
            }
        else:
            whole = StreamedDemonstrations(self.folder, **cut)
            known, rest = whole.split(self.fractions[0], self.seed)
            parts = {"known": known, "held_out": rest}
            source = known
            if self.fractions[1] and len(known.episodes) > 1:
                other = self.seed + VALIDATION_SEED_OFFSET
                source, parts["validation"] = known.split(self.fractions[1], other)
            parts["training"] = source
            parts = {k: part.sample(MAX_SAMPLES_FITTED) for k, part in parts.items()}
        return {name: _in_jax(part) for name, part in parts.items()}, source


def default_share(count: int) -> float:
    """Return the fraction of `count` episodes that is held out: a tenth or more."""
    few = min(MIN_HELD_OUT, math.ceil(MAX_HELD_OUT * count))
    return max(HELD_OUT, few / count) if count > 1 else HELD_OUT


def _read(
    source: Any, reading: dict[str, Any], seed: int, *, folders: bool
) -> tuple[list[Trajectory], dict[str, list[int]], Path | None]:
    """Return episodes, the masks of their file, and a folder that exceeds memory."""
    if not isinstance(source, str | PathLike):
        return _episodes(source, reading, "demonstrations"), {}, None
    path = Path(source)
    if not str(source).startswith("minari:") and not path.exists():
        raise RobooptError(
            "`demonstrations` must be a file, a folder or minari:<dataset>, got "
            f"{source}, which is missing."
        )
    with argument_called("path", "demonstrations"):
        episodes, masks = load_episodes(source, **reading), episode_masks(path)
    if not folders or not _exceeds_memory(path):
        return episodes, masks, None
    # Their arrays are read only where they are used.
    count = min(MAX_EPISODES_CHECKED, len(episodes))
    chosen = np.random.default_rng(seed).choice(len(episodes), count, replace=False)
    return [episodes[k] for k in sorted(chosen)], masks, path


def _checked(episodes: Sequence[Trajectory], env: Any) -> list[Finding]:
    """Return what the checks find, and raise a `RobooptError` for an error."""
    findings = check_demonstrations(
        episodes,
        observation_space=None if env is None else env.observation_space,
        action_space=None if env is None else env.action_space,
    )
    step, own = episodes[0].time_step, None if env is None else told_time_step(env)
    if own is not None and abs(step - own) > MAX_STEP_DIFFERENCE * own:
        message = (
            f"the time step is {step:.4g} s, but the clone acts every {own:.4g} s in "
            "the environment: demonstrate at that rate."
        )
        findings.append(Finding(OTHER_STEP, "warning", message))
    # Saturated actions are cloned through the clip.
    findings = [f for f in findings if f.code != "saturation"]
    # An expert may ask for more than the actuators give.
    wrong = [f for f in findings if f.severity == "error" and f.code != OUT_OF_RANGE]
    errors = [str(f) for f in wrong]
    if errors:
        shown = "; ".join(message.rstrip(".") for message in errors[:3])
        raise RobooptError(f"`demonstrations`: {shown}.")
    return findings


def _named(finding: Finding, names: Mapping[str, list[str]]) -> Finding:
    """Return a finding about axes with the names of the axes."""
    found = re.fullmatch(r"(action|observation)s? ax[ie]s (.+)", finding.where)
    own = names.get(f"{found[1]}s", ()) if found else ()
    axes = [int(axis) for axis in found[2].split(", ")] if found else []
    if not found or max(axes) >= len(own):
        return finding
    called = ", ".join(own[axis] for axis in axes)
    return dataclasses.replace(finding, where=f"{finding.where}, {called}")


def _episodes(source: Any, reading: dict[str, Any], argument: str) -> list[Trajectory]:
    with argument_called("path", argument):
        source, runs = named_arrays(source)
    every = runs if isinstance(runs, list) and runs else [source]
    arrays = all(map(is_frame, every)) and not all(map(is_plain, every))
    if isinstance(source, str | PathLike) or arrays:
        with argument_called("path", argument):
            return load_episodes(runs, **reading)
    if every is runs and all(
        isinstance(x, str | PathLike) or is_frame(x) for x in runs
    ):
        each = [_episodes(one, reading, argument) for one in runs]
        return [episode for episodes in each for episode in episodes]
    runs = [source] if isinstance(source, Trajectory) else source
    if isinstance(runs, Sequence) and all(isinstance(x, Trajectory) for x in runs):
        if not runs:
            raise RobooptError(f"`{argument}` must hold at least one episode.")
        return [*map(with_choices, single_recordings(runs))]
    if not isinstance(source, dict | tuple | list | Demonstrations):
        raise RobooptError(
            f"`{argument}` must be trajectories, arrays (observations, actions), dicts "
            f"of these, a file, a folder or a data frame, got {type(source).__name__}."
        )
    samples = Demonstrations.of(source, argument=argument)
    observations = np.asarray(samples.observations)
    if samples.weights is not None:
        raise RobooptError(
            f"`{argument}` must have no `weights`: a clone counts each sample once."
        )
    # One episode: nobody knows what was seen after the last action.
    seen = np.concatenate([observations, observations[-1:]])
    step = reading["time_step"] or reading["default_time_step"]
    low, high = (
        None if x is None else np.asarray(x) for x in (samples.low, samples.high)
    )
    actions = np.asarray(samples.actions)
    return [with_choices(Trajectory(seen, actions, step, low=low, high=high))]


def _alike(
    source: Any, reading: dict[str, Any], argument: str, episodes: Sequence[Any]
) -> list[Trajectory]:
    """Return further demonstrations, of the sizes of those to learn from."""
    if type(source) is list and source and isinstance(source[0], str | PathLike):
        each = [_alike(one, reading, argument, episodes) for one in source]
        return [episode for part in each for episode in part]
    part = _episodes(source, reading, argument)
    for axes in SEEN:
        own = getattr(episodes[0], axes).shape[-1]
        if others := {getattr(e, axes).shape[-1] for e in part} - {own}:
            where = f" in {source}" if isinstance(source, str | PathLike) else ""
            raise RobooptError(
                f"`{argument}` must have {axes} of size {own}, as those to learn from, "
                f"got {others.pop()}{where}."
            )
    return part


def _clipped(episodes: Sequence[Trajectory], env: Any) -> list[Trajectory]:
    space: Any = None if env is None else env.action_space
    if not hasattr(space, "low"):
        raise RobooptError(
            f"`clip` needs an `env` whose actions have limits, got actions in {space}."
        )
    clip = lambda e: np.clip(e.actions, space.low, space.high)  # noqa: E731
    return [dataclasses.replace(e, actions=clip(e)) for e in episodes]


def _exceeds_memory(folder: Path) -> bool:
    if not is_episode_folder(folder):
        return False
    return sum(f.stat().st_size for f in folder.iterdir()) > MAX_BYTES_IN_MEMORY


def _in_jax(samples: Demonstrations) -> Demonstrations:
    """Return the samples as JAX arrays in JAX's default precision."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, float) if x.dtype.kind == "f" else jnp.asarray(x),
        samples,
    )
