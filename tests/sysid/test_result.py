"""The summary, the report and the files of an identification."""

import csv
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import check_page

import roboopt as ro
from roboopt.diagnose import Combination, IdentifiabilityReport
from roboopt.report import Summary
from roboopt.sysid import BaseParameter, EffortErrors, IdentifyResult, Parameter
from roboopt.sysid._tables import base_table, effort_sentences

WIDTH = 80


def parameter(**changes):
    values = {
        "name": "mass[forearm]",
        "unit": "kg",
        "start": 0.6,
        "estimate": 0.78,
        "lower": 0.77,
        "upper": 0.79,
        "verdict": "identified",
        "explanation": "identified",
    }
    return Parameter(**{**values, **changes})


@pytest.mark.parametrize(
    "changes, covered",
    [
        ({}, None),
        ({"true": 0.785}, True),
        ({"true": 0.8}, False),
        # A fixed value of zero width is not outside of its interval.
        ({"true": 0.1, "estimate": 0.0, "lower": 0.0, "upper": 0.0}, None),
        ({"true": 0.0, "estimate": 0.0, "lower": 0.0, "upper": 0.0}, True),
        ({"true": 0.0, "estimate": 1e-17, "lower": 1e-17, "upper": 1e-17}, True),
        ({"true": 0.8, "verdict": "not excited"}, None),
    ],
)
def test_an_interval_holds_the_true_value_or_does_not(changes, covered):
    assert parameter(**changes).covered is covered


@pytest.mark.parametrize(
    "changes, text",
    [
        ({}, "± 0.01"),
        ({"lower": 0.5, "upper": 1.2}, "0.5 to 1.2"),
        # It ends at the bound: ± 0.84 would reach below 0.
        ({"lower": 0.0, "upper": 1.62}, "0 to 1.62"),
        ({"verdict": "only in combination", "upper": np.inf}, "–"),
    ],
)
def test_intervals_are_half_widths_where_they_are_symmetric(changes, text):
    assert parameter(**changes).interval == text


@pytest.mark.parametrize(
    "changes, words",
    [
        # Half of 0.02 over 0.78.
        ({}, "known to ± 1.3 %"),
        ({"lower": -0.1, "upper": 1.66}, "zero within its interval"),
        ({"estimate": 0.0, "lower": 0.0, "upper": 0.0}, "zero within its interval"),
        ({"lower": 0.78, "upper": 0.78}, "known to rounding"),
        ({"verdict": "not excited", "explanation": "not excited"}, "not excited"),
        # Exponentials: 0.78 · 4 and 0.78 / 4.
        ({"lower": 0.195, "upper": 3.12}, "known within a factor of 4"),
        ({"lower": 0.0002, "upper": 3042.0}, "known only within a factor of 3900"),
    ],
)
def test_a_verdict_follows_from_its_numbers(changes, words):
    assert parameter(**changes).conclusion() == words


def test_a_parameter_in_a_combination_names_the_others():
    row = parameter(verdict="only in combination", explanation="only ... with mass[b]")
    assert row.conclusion() == row.conclusion(short=True) == "only ... with mass[b]"
    said = "only ... with mass[b], mass[c] and 2 more"
    row = parameter(verdict="only in combination", explanation=said)
    assert row.conclusion() == said
    assert row.conclusion(short=True) == "only ... with mass[b] and others"


def test_of_a_long_sum_the_largest_terms_are_shown():
    terms = {f"mass[link_{k}]": -0.1234 * 2.0**-k for k in range(18)}
    combination = Combination({"I_zz[link]": 1.0, **terms}, 12.345678, 0.1234)
    row = BaseParameter(combination, "kg·m²", 1.0, 12.345678)
    text = Summary("arm", [base_table([row] * 2)], []).text(WIDTH)
    assert max(map(len, text.splitlines())) <= WIDTH
    words = " ".join(text.split())
    assert "12.35 ± 0.063" in text and "0.123 mass[link_0]" in words
    assert "mass[link_2]" not in words and "+ 16 smaller" in words
    assert str(combination).count("mass") == 18


def test_what_is_exact_but_for_rounding_is_told_so():
    rows = [
        BaseParameter(Combination({name: 1.0}, value, half), "kg", 1.0, value)
        for name, value, half in (
            ("zero", 2e-16, 1e-16),
            ("open", 0.5, 0.6),
            ("exact", 0.5, 1e-16),
            ("known", 0.5, 0.01),
        )
    ]
    told = {row[0]: row[-1] for row in base_table(rows).rows}
    assert list(told.items()) == [
        ("exact [kg]", "rounding"),
        ("known [kg]", "± 2 %"),
        ("zero [kg]", "0 inside"),
        ("open [kg]", "0 inside"),
    ]


@pytest.fixture(scope="module")
def found():
    """Return the identification of an arm whose links' shapes are unknown too."""
    import roboopt_envs.arm

    urdf = roboopt_envs.arm.__file__.replace("arm.py", "assets/two_link.urdf")
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    robot = robot.merge_fixed()
    heavier = jnp.array([1.2, 0.9])
    robot = eqx.tree_at(
        lambda r: (r.masses, r.inertias),
        robot,
        (robot.masses * heavier, robot.inertias * heavier[:, None, None]),
    )
    twin = ro.Twin(robot, 1 / 240)
    time = np.arange(480)[:, None] / 240
    efforts = np.sin([3.0, 7.0] * time + [0.0, 1.0]) * [2.0, 0.3]
    start = jnp.array([-1.5, 0.2, 0.0, 0.0])

    def step(state, effort):
        return (after := twin(state, effort)), after

    states = jax.jit(lambda u: jax.lax.scan(step, start, u)[1])(jnp.asarray(efforts))
    run = ro.Trajectory(np.vstack([start[None], states]), efforts, 1 / 240)
    free = ("mass", "center_of_mass.x", "center_of_mass.z", "extent.x", "damping")
    return ro.identify(urdf, [run, run], free=free, truth=twin.robot)


def test_the_summary_is_legible_at_80_columns(found):
    text = found.summary().text(WIDTH)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "…" not in text
    for parameter in found.parameters:
        assert parameter.name in text
    assert "least squares ± σ" in text
    first, second = found.summary().sentences[:2]
    assert first.startswith("The error of the held-out efforts is")
    assert second.startswith("Held-out forecasts after")
    # Without noise the real robot's motion is followed to its end.
    third = found.summary().sentences[2]
    assert "follow the held-out recordings to their ends" in third


def test_combinations_have_values_and_intervals(found):
    report = found.identifiability
    assert isinstance(report, IdentifiabilityReport) and report.combinations
    for combination in report.combinations:
        assert isinstance(combination, Combination)
        values = dict(zip(report.names, report.values, strict=True))
        stated = sum(c * values[n] for n, c in combination.coefficients.items())
        # Terms of less than a hundredth of the largest are not stated.
        assert stated == pytest.approx(combination.value, rel=0.1, abs=0.05)
        assert np.isfinite(combination.half_width)


def test_a_joint_that_the_urdf_foretells_exactly_has_a_metric(found):
    made = found.forecasts
    exact = {**made.rmse, "URDF": np.zeros_like(made.rmse["URDF"])}
    own = dataclasses.replace(found)
    vars(own)["forecasts"] = dataclasses.replace(made, rmse=exact)
    (name,) = (name for name in own.metrics() if name.startswith("forecast error"))
    assert 1e6 < own.metrics()[name] < np.inf


def test_a_fit_that_failed_has_no_verdicts(found):
    worse = dataclasses.replace(found.efforts, fitted=2 * found.efforts.before + 1)
    failed = dataclasses.replace(found, efforts=worse)
    good, bad = (str(one.summary()) for one in (found, failed))
    for said in ("known to", "times better", "identified by themselves"):
        assert said in good and said not in bad
    assert "the fit has failed" in " ".join(bad.split())
    assert {row.verdict for row in failed.parameters} == {"not judged"}


def test_a_fit_of_the_motion_tells_that_the_model_lacks_something(found):
    made = found.forecasts
    rmse = {name: errors.copy() for name, errors in made.rmse.items()}
    rmse["fitted"][0, 1] = 2 * rmse["constant velocity"][0, 1]
    moved = dataclasses.replace(found, efforts=None)
    lacking = "more of the motion of elbow than noise: what the model lacks"
    for errors, expected in ((made.rmse, False), (rmse, True)):
        vars(moved)["forecasts"] = dataclasses.replace(made, rmse=errors)
        said = " ".join(moved.summary().sentences)
        assert (lacking in said) == expected
        assert "times better" in said and moved.parameters[0].verdict != "not judged"


def test_a_driven_robot_is_judged_by_its_efforts_alone(found, monkeypatch):
    monkeypatch.setattr("roboopt.sysid._result.is_far_off", lambda *_: True)
    again = ro.identify(found.before.inner, found.training, free=("mass", "damping"))
    assert again.conclusive
    assert again.efforts is not None and again.efforts.base


def test_a_fit_that_leaves_far_more_of_the_motion_than_noise_has_no_verdicts(found):
    rmse = {name: errors.copy() for name, errors in found.forecasts.rmse.items()}
    rmse["fitted"][0, 1] = 4 * rmse["constant velocity"][0, 1]
    lost = dataclasses.replace(found, efforts=None)
    vars(lost)["forecasts"] = dataclasses.replace(found.forecasts, rmse=rmse)
    said = " ".join(lost.summary().sentences)
    assert "far more of the motion of elbow than noise" in said
    assert "times better" not in said and "identified by themselves" not in said
    assert {row.verdict for row in lost.parameters} == {"not judged"}


def test_files_and_report_are_written_and_the_result_is_read_back(found, tmp_path):
    found.save(tmp_path / "run")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {
        *("result.npz", "model.npz", "identified.urdf", "metrics.json"),
        *("parameters.csv", "efforts.csv", "base_parameters.csv", "forecasts.csv"),
        *("combinations.csv", "simulations.csv", "history.csv"),
    }
    with (tmp_path / "run" / "parameters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(found.identifiability.names)
    assert float(rows[0]["true"]) == pytest.approx(found.parameters[0].true)
    with (tmp_path / "run" / "forecasts.csv").open(newline="") as file:
        assert "elbow velocity [rad/s]" in next(csv.reader(file))
    with (tmp_path / "run" / "simulations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # The fit's parts and the ends that were held out, two joints each.
    assert [row["held out"] for row in rows] == 4 * ["false"] + 4 * ["true"]
    assert {row["recording"] for row in rows} == {"recording 0", "recording 1"}
    assert all(float(row["fitted RMSE"]) < 1e-3 for row in rows)
    loaded = ro.load(tmp_path / "run" / "result.npz")
    assert isinstance(loaded, IdentifyResult)
    assert loaded.summary().text(WIDTH) == found.summary().text(WIDTH)
    np.testing.assert_array_equal(loaded.model.values(), found.model.values())
    # A file of a stranger does not choose a file that is read here.
    with pytest.warns(UserWarning, match=r"allow it by `load\(path, allow="):
        loaded.save(tmp_path / "again")
    assert not (tmp_path / "again" / "identified.urdf").exists()
    ro.load(tmp_path / "run", allow=[IdentifyResult]).save(tmp_path / "again")
    assert (tmp_path / "again" / "identified.urdf").exists()
    found.report(tmp_path / "report.html")
    check_page(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    for title in (
        *(
            "Parameters",
            "Efforts",
            "Base parameters",
            "Forecasts",
            "Predicted and measured motion",
            "Simulation of whole recordings",
        ),
        *("Identifiability", "Recordings"),
    ):
        assert f"<h2>{title}</h2>" in page


def test_efforts_that_friction_cannot_have_are_said_to_be_reversed():
    def row(name, value, half):
        return BaseParameter(Combination({name: 1.0}, value, half), "1", 0.0, 0.0)

    base = (
        *(row("damping[neg]", -0.8, 0.01), row("friction[neg]", -1.5, 0.03)),
        # Friction that falls with speed, and a joint with hardly any.
        *(row("damping[sticky]", -0.8, 0.01), row("friction[sticky]", 1.5, 0.03)),
        *(row("damping[free]", -0.8, 1.0), row("friction[free]", -1.5, 3.0)),
    )
    errors = EffortErrors(
        (0, 1, 2), *np.ones((3, 3)), unconstrained=np.ones(3), base=base, held_out=True
    )
    joints = "neg", "sticky", "free"
    said = " ".join(effort_sentences(errors, joints))
    assert "the efforts of neg speed the motion up" in said
    assert "more of the efforts than noise" not in said
    excess = np.array([1.0, 2.91, 1.4])
    said = " ".join(
        effort_sentences(dataclasses.replace(errors, excess=excess), joints)
    )
    assert "than noise, sticky 2.91 times as much" in said
    # A friction of a hundredth of the efforts may be an error of the model.
    small = dataclasses.replace(
        errors, recorded=200 * np.ones(3), base=(row("friction[neg]", -1.5, 0.03),)
    )
    assert "speed the motion up" not in " ".join(effort_sentences(small, joints))


@pytest.mark.parametrize("fitted, failed", [(0.9, False), (40.0, True)])
def test_a_fit_that_meets_the_efforts_worse_than_the_given_robot_is_not_to_be_used(
    fitted, failed
):
    one = np.ones(1)
    errors = EffortErrors((0,), one, one, fitted * one, 0.5 * one, (), held_out=True)
    (said, *_) = effort_sentences(errors, ["elbow"])
    assert ("100 %: the fit has failed" in said and "Do not use it" in said) == failed
