"""The sections of the report of `reinforce`."""

from typing import Any

import numpy as np

from roboopt._progress import counted
from roboopt.diagnose import HISTORY_TITLES as TITLES
from roboopt.diagnose import gradient_section, mask_constant_returns
from roboopt.optimize import NOTES
from roboopt.report import (
    Drawing,
    Figure,
    Notes,
    NoVideo,
    Performance,
    Section,
    Table,
    Video,
    ceiling_notes,
    motions,
    performance,
    replay_section,
    sentence,
    settings,
    spread,
)
from roboopt.rollouts import EVALUATION_SEED_OFFSET

MAX_SUCCESS_POINTS, MIN_SUCCESS_GROUP = 60, 20
UNITS = {"approximate_kl": "nat", "entropy": "nat", "negative_entropy": "nat"}
REUSE_ONLY = "approximate_kl", "clip_fraction"
"""Distances from the policy that acted, which are 0 on the first gradient step."""
REPLAYED = "The robot as the learned policy moves it"
GHOST = " and, as a ghost, its start"
MEDIAN_AND_BAND = "the median, and the band that 80 % of neighboring {} lie in"


def sections(result: Any, video: bool) -> list[Section]:
    """Return the sections of the report in order."""
    shown = result.evaluations if result.evaluation is not None else {}
    film = _film(result) if video else None
    replayed = f"{REPLAYED}{GHOST * (len(shown) > 1)}."
    made = [
        _evaluation(result),
        None if film is None else _video(film),
        _learning(result),
        _gradient(result),
        _health(result),
        _loss(result),
        replay_section(result.robot_motions(), replayed),
        motions(result.signals, shown, film) if shown else None,
        settings(result.record()),
    ]
    return [section for section in made if section is not None]


def _evaluation(result: Any) -> Section:
    notes = [f"{name.capitalize()}: {text}." for name, text in result.choice.items()]
    if found := result.evaluations:
        counts = {len(each.returns) for each in found.values()}
        text = f"{min(counts)} fresh episodes without exploration"
        same = ", from the same starts for both" if len(found) > 1 else ""
        notes.insert(0, f"{text}{same}.")
        notes[1:1] = ceiling_notes(found)
    elif result.interrupted:
        notes.insert(0, result.training_sentence())
    tables = [x for x in result.summary().tables if isinstance(x, Table)]
    return Section("Evaluation", [*tables, Notes(notes)])


def _learning(result: Any) -> Section:
    returns, beside = result.returns, result.judged_beside
    ended = counted(len(returns), "episode")
    played = f", {ended}"
    if beside:
        played = ""
        if result.gradient == "analytic":  # Episodes of the twin are of one length.
            played = f", {counted(result.timesteps // result.max_steps, 'episode')}"
    text = (
        f"{sentence(result.message)} {result.timesteps} environment steps"
        f"{played} and "
        f"{counted(result.steps, 'gradient step')} took "
        f"{result.seconds:.1f} s, of which the first gradient step took "
        f"{result.compile_seconds:.1f} s."
    )
    if beside:
        text += f" Beside the descent the policy of the time was judged on {ended}."
    if not len(returns):
        return Section("Learning", [Notes([text, "No episode ended."])])
    steps, target = returns.timesteps.astype(float), result.target
    axis = "environment step"
    drawn = [
        ("Return", steps, returns.returns, axis, target),
        ("Return over time", returns.seconds, returns.returns, "time [s]", target),
    ]
    if len(np.unique(returns.lengths)) > 1:
        lengths = returns.lengths.astype(float)
        drawn.append(("Steps an episode", steps, lengths, axis, None))
    if np.isfinite(returns.successes).any():
        places, shares = _success_rates(steps, returns.successes)
        drawn.append(("Success", places, shares, axis, None))
    panels = [
        spread(title, places, values, axis=axis, level=level, logs=False)
        for title, places, values, axis, level in drawn
    ]
    caption = "Each episode of the learning, exploration included: "
    if beside:
        caption = f"The {ended} of the policy beside the descent, not those of the "
        caption += "gradient: "
    caption += f"{MEDIAN_AND_BAND.format('episodes')}."
    if result.target is not None:
        caption += " Dashed, the target."
    return Section("Learning", [Notes([text]), Figure(panels, caption)])


def _success_rates(
    steps: np.ndarray, success: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of successes among neighbors: single ones have no quantiles."""
    count = max(1, min(MAX_SUCCESS_POINTS, len(success) // MIN_SUCCESS_GROUP))
    groups = np.array_split(np.arange(len(success)), count)
    shares = [np.nanmean(success[g]) for g in groups]
    return np.array([steps[g].mean() for g in groups]), np.array(shares)


def _gradient(result: Any) -> Section | None:
    said = f"L is the loss that {result.algorithm} descends; it is no return. "
    if "end" in result.explained and not result.judged_beside:
        said += "The gradient at the end is on the samples of the last block."
    return gradient_section(result.explained, result.history, notes=[said])


def _health(result: Any) -> Section | None:
    panels = [
        _over_steps(result, name, title)
        for name, title in TITLES.items()
        if name in result.history and (result.reused > 1 or name not in REUSE_ONLY)
    ]
    notes = [sentence(found.message) for found in result.health]
    caption = f"Over the gradient steps: {MEDIAN_AND_BAND.format('steps')}."
    if (norms := result.gradient_by_horizon) is not None:
        horizons, axis = norms.horizons.astype(float), "steps of simulation"
        for title, values in (
            ("Norm by horizon", norms.norms),
            ("Signal to noise by horizon", norms.signal_to_noise),
        ):
            panels.append(spread(title, horizons, values, axis=axis, logs=True))
        caption += (
            " By horizon: the exact gradient through the twin at the start, over "
            f"{norms.starts} starts."
        )
    if not panels:
        return None
    notes = notes or ["No finding about the gradients."]
    return Section("Gradient health", [Notes(notes), Figure(panels, caption)])


def _over_steps(result: Any, name: str, title: str) -> Drawing:
    values = mask_constant_returns(result.history)[name]
    title, unit = title[0].upper() + title[1:], UNITS.get(name, "1")
    places = np.arange(float(len(values)))
    return spread(title, places, values, axis="gradient step", unit=unit)


def _loss(result: Any) -> Section | None:
    hidden = {"loss", *TITLES, *NOTES}
    names = [name for name in result.history if name not in hidden]
    panels = [_over_steps(result, name, name.replace("_", " ")) for name in names]
    caption = f"The terms over the gradient steps: {MEDIAN_AND_BAND.format('steps')}."
    return Section("Loss", [Figure(panels, caption)]) if panels else None


def _video(film: Performance | NoVideo) -> Section:
    if isinstance(film, NoVideo):
        return film.section()
    said = f"Test episode 0, the first of the evaluation, {film.speed}."
    return Section("Video", [Video(film.mp4, said)])


def _film(result: Any) -> Performance | NoVideo:
    policies = {result.start_name: result.start, "learned": result.policy}
    seed = result.seed + EVALUATION_SEED_OFFSET
    return performance(result.env, policies, seed, max_steps=result.max_steps)
