"""Separators of thousands, which look like decimal points."""

import numpy as np
import pytest
from told import read_told

COUNT = 120
NAMES = ["t [ms]", "q_a", "dq_a", "tau_a"]
NUMBERS = np.stack(
    [np.arange(COUNT) * 10, *np.random.default_rng(0).random((3, COUNT))]
)


def german(number, digits):
    return f"{number:,.{digits}f}".translate(str.maketrans(".,", ",."))


def written(tmp_path, times, tau=None, names=NAMES, separator=";", quote=""):
    columns = [times, *([german(x, 4) for x in y] for y in NUMBERS[1:])]
    columns[3] = columns[3] if tau is None else tau
    cells = zip(*columns, strict=True)
    rows = [separator.join(f"{quote}{x}{quote}" for x in row) for row in cells]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([separator.join(names), *rows]) + "\n")
    return path


@pytest.mark.parametrize("separator, quote", [(";", ""), ("\t", ""), (",", '"')])
@pytest.mark.parametrize("first", [0, 990, 12345, 1_234_560])
def test_points_in_milliseconds_separate_thousands(tmp_path, first, separator, quote):
    times = [german(first + t, 0) for t in NUMBERS[0]]
    path = written(tmp_path, times, separator=separator, quote=quote)
    (run,), said = read_told(path, joints=["a"])
    assert run.time_step == pytest.approx(0.01) and run.steps == COUNT - 1
    np.testing.assert_allclose(run.observations[:, 0], NUMBERS[1], atol=1e-4)
    assert "`t [ms]`" not in said and "t [ms] have separators of thousands" in said


def test_whole_numbers_alone_tell_by_times_that_go_back(tmp_path):
    times = [german(t, 0) for t in NUMBERS[0]]
    rows = [f"{t};{k % 7};1;2" for k, t in enumerate(times)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([";".join(NAMES), *rows]))
    (run,), said = read_told(path, joints=["a"])
    assert run.time_step == pytest.approx(0.01) and "thousands" in said


def test_numbers_with_both_marks_are_read(tmp_path):
    tau = [german(900 + 2.5 * k, 1) for k in range(COUNT)]
    path = written(tmp_path, [f"{t:.0f}" for t in NUMBERS[0]], tau)
    (run,), said = read_told(path, joints=["a"])
    np.testing.assert_allclose(run.actions[:, 0], 900 + 2.5 * np.arange(COUNT - 1))
    assert "tau_a have separators of thousands" in said


def test_commas_separate_thousands_beside_decimal_points(tmp_path):
    rows = [
        ",".join(f'"{x}"' for x in (f"{t + 12345:,.0f}", *(f"{y:.4f}" for y in rest)))
        for t, *rest in NUMBERS.T
    ]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([",".join(NAMES), *rows]))
    (run,), said = read_told(path, joints=["a"])
    assert run.time_step == pytest.approx(0.01) and "thousands" in said
    np.testing.assert_allclose(run.observations[:, 0], NUMBERS[1], atol=1e-4)


@pytest.mark.parametrize(
    "times, tau",
    [
        ([f"{1 + t / 1e3:.3f}" for t in NUMBERS[0]], None),  # in seconds
        ([f"{t:.0f}" for t in NUMBERS[0]], ["1.250", "1,250"] * (COUNT // 2)),
        ([f"{t:.0f}" for t in NUMBERS[0]], ["1.250"] * COUNT),
    ],
)
def test_decimal_points_beside_decimal_commas_stay(tmp_path, times, tau):
    names = ["t", *NAMES[1:]] if tau is None else NAMES
    (run,), said = read_told(written(tmp_path, times, tau, names), joints=["a"])
    assert run.time_step == pytest.approx(0.01) and "thousands" not in said
    assert tau is None or (run.actions == 1.25).all()
