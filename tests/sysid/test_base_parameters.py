"""Base parameters carry all that the efforts of a robot tell of it."""

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from test_nearest_possible import arm, condensed, moved, recorded

from roboopt.data import Trajectory
from roboopt.diagnose import Combination, IdentifiabilityReport
from roboopt.dynamics import linear_parameters
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._base_parameters import (
    BaseParameter,
    _names,
    base_parameters,
    no_narrower,
)
from roboopt.sysid._condensed import Condensed, effort_rows
from roboopt.sysid._effort_errors import held_out_noise
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._tables import base_table

NOISE = 0.05


def of(start, real, data, instants=None):
    noise = np.maximum(data.rms(np.asarray(linear_parameters(real))), 1e-9)
    numbers = [np.asarray(linear_parameters(m)) for m in (start, real)]
    free = free_numbers(start)[0]
    return base_parameters(data, noise, (start, real), numbers, free, instants=instants)


def size_by_name(model):
    return dict(zip(_names(model)[0], np.abs(linear_parameters(model)), strict=True))


def test_a_number_has_one_interval_the_wider():
    def report(names, values, half):
        """Return a report with these rows alone."""
        made = object.__new__(IdentifiabilityReport)
        arrays = {"values": np.array(values), "names": tuple(names)}
        ends = {"lower": np.array(values) - half, "upper": np.array(values) + half}
        lowest = np.array([-np.inf, 0, -np.inf, 0])  # of offsets, frictions, masses
        most = np.array([np.inf, 0.45, np.inf, np.inf])
        model = SimpleNamespace(
            positive=(False,) * 4, lower=lambda: lowest, upper=lambda: most
        )
        vars(made).update({f.name: None for f in fields(made)} | arrays | ends)
        vars(made)["model"] = model
        return made

    def base(terms, half):
        return BaseParameter(Combination(terms, 0.0, half), "N·m", 0.0, 0.0)

    names = "effort_offset[a]", "friction[a]", "mass[a]", "damping[a]"
    made = report(names, [0.1, 0.2, 3.0, 4.0], np.array([0.05, 0.1, 0.5, np.inf]))
    found = no_narrower(
        made,
        [
            base({"effort_offset[a]": 1.0}, 0.15),
            base({"friction[a]": 1.0}, 0.3),
            base({"mass[a]": 1.0, "mass[b]": 1.0}, 2.0),
            base({"damping[a]": 1.0}, 0.3),
        ],
    )
    np.testing.assert_allclose(found.lower, [-0.05, 0.0, 2.5, -np.inf], atol=1e-12)
    np.testing.assert_allclose(found.upper, [0.25, 0.45, 3.5, np.inf])


def test_their_number_is_that_of_the_columns_that_are_independent():
    start = arm()
    data = condensed(start, recorded(start, 0.0))
    found = of(start, start, data)
    rows = data.factors[:, :, :-1][:, :, free_numbers(start)[0]]
    rows = rows.reshape(-1, rows.shape[-1])
    size = np.linalg.norm(rows, axis=0)
    felt = size > 1e-9
    rank = np.linalg.matrix_rank(rows[:, felt] / size[felt], tol=1e-9)
    assert len(found) == rank
    # The first link turns about an upright axis: of its ten numbers one is felt.
    assert found[0].name.startswith("I_zz[shoulder_link] + ")
    assert found[0].unit == "kg·m²"
    for row in found:  # What contributes most comes first.
        sizes = size_by_name(start)
        terms = list(row.combination.coefficients.items())[1:]
        shares = [abs(c) * sizes[name] for name, c in terms]
        assert shares == sorted(shares, reverse=True)
    assert sum("[shoulder_link]" in row.name.partition(" ")[0] for row in found) == 1


def test_without_noise_least_squares_find_those_of_the_robot():
    start = arm()
    real = moved(start, 0.2, 5)
    for row in of(start, real, condensed(start, recorded(real, 0.0))):
        assert row.least_squares == pytest.approx(row.estimate, rel=1e-6, abs=1e-8)


def test_intervals_hold_the_true_values_as_often_as_they_say():
    start = arm()
    real = moved(start, 0.2, 6)
    inside = []
    for seed in range(12):
        data = condensed(start, recorded(real, NOISE, seed))
        inside += [
            abs(row.least_squares - row.estimate) <= row.combination.half_width
            for row in of(start, real, data)
        ]
    assert 0.9 <= np.mean(inside) <= 0.99


def test_errors_that_last_widen_the_intervals():
    # Of noise with a correlation of 0.9 from one instant to the next, sums vary
    # 1/(1 − 0.9) = 10 times as much as its size says, over its √(1 − 0.9²).
    start = arm()
    real = moved(start, 0.2, 6)
    error = InverseDynamicsError(scale=np.ones(start.joints))
    inside, without = [], []
    for seed in range(12):
        run = recorded(real, 0.0)
        noise = np.random.default_rng(seed).normal(size=run.actions.shape)
        lasting = lfilter([1.0], [1.0, -0.9], noise, axis=0)
        actions = run.actions + NOISE * np.std(run.actions, 0) * lasting
        run = Trajectory(run.observations, actions, run.time_step)
        data = condensed(start, run)
        instants = [rows for _, rows in effort_rows(error, start, run)]
        for told, rows in ((inside, instants), (without, None)):
            told += [
                abs(row.least_squares - row.estimate) <= row.combination.half_width
                for row in of(start, real, data, rows)
            ]
    assert np.mean(without) < 0.85
    assert 0.88 <= np.mean(inside) <= 0.99


def test_what_no_robot_has_is_not_known():
    def row(value, **terms):
        named = {f"{name}[a]": c for name, c in terms.items()}
        return BaseParameter(Combination(named, value, 0.1), "kg·m²", 0.0, 0.0)

    low, high = row(-1.0, I_yy=1.0, armature=1.0, m=0.2), row(1.0, I_yy=1.0)
    assert low.impossible and not high.impossible
    # A difference may be negative, as may a first moment, and what is within the error.
    others = row(-1.0, I_yy=1.0, I_zz=-1.0), row(-1.0, **{"m·z": 1.0}), row(-0.05, m=1)
    assert not any(one.impossible for one in others)
    shown = str(base_table([low, high]))
    assert "impossible" in shown and "± 10 %" in shown


def test_held_out_efforts_tell_noise_but_for_the_variance_of_the_fit():
    random, noise, free = np.random.default_rng(0), 0.1, np.ones(8, bool)
    numbers, found, unseen = random.normal(size=8), [], []

    def seen(columns, more=0.0):
        efforts = columns @ numbers + noise * random.normal(size=20) + more
        factors: Any = np.linalg.qr(np.column_stack([columns, efforts]), mode="r")
        return Condensed(factors[None], 20)

    for more in (0.0, 1.0):  # what the model lacks, in the efforts held out
        told = []
        for _ in range(100):
            known = seen(random.normal(size=(20, 8)))
            judge = seen(4 * random.normal(size=(20, 8)), more)
            best = known.unconstrained(np.zeros(8), free)
            unseen.append(judge.rms(best)[0])
            told.append(held_out_noise(known, judge, best, free, 1.0)[0])
        found.append(np.median(told))
    assert np.median(unseen[:100]) > 2 * noise  # by the variance of the fit alone
    assert found[0] == pytest.approx(noise, rel=0.3)  # the larger of two estimates
    assert found[1] > 2 * noise
