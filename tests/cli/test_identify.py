"""The command as a user runs it: recordings in, a fitted robot and its report out."""

import csv
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs.arm

import roboopt as ro
from roboopt.cli import main

TWO_LINK = Path(roboopt_envs.arm.__file__).parent / "assets" / "two_link.urdf"
STEP = 1 / 240
FREE = ("--free", "mass[forearm]", "mass[tool]", "damping")
FILES = {
    "checkpoint.npz",
    *("report.html", "result.npz", "model.npz", "identified.urdf"),
    *(
        "parameters.csv",
        "efforts.csv",
        "base_parameters.csv",
        "forecasts.csv",
        "simulations.csv",
        "settings.json",
        "metrics.json",
        "history.csv",
    ),
}
HEAVIER = 1.3  # the real forearm, with its tool, over that of the URDF
DAMPED = 0.08  # N·m·s/rad, the real shoulder; 0.05 in the URDF


def real():
    """Return the twin of the arm as it is, not as its URDF has it."""
    robot = ro.load_urdf(TWO_LINK, linear_damping=0.0, angular_damping=0.0)
    robot = robot.merge_fixed()
    masses = robot.masses.at[1].mul(HEAVIER)
    inertias = robot.inertias.at[1].mul(HEAVIER)
    damping = robot.damping.at[0].set(DAMPED)
    robot = eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.damping), robot, (masses, inertias, damping)
    )
    return ro.Twin(robot, STEP, implicit_damping=True)


@eqx.filter_jit
def motion(twin, start, efforts):
    def step(state, effort):
        after = twin(state, effort)
        return after, after

    return jnp.concatenate([start[None], jax.lax.scan(step, start, efforts)[1]])


def record(seconds, seed=0):
    """Record the arm hanging, under slow sines of efforts."""
    time = STEP * np.arange(round(seconds / STEP))[:, None]
    phases = np.random.default_rng(seed).uniform(0, 6, (2, 2))
    efforts = 2.0 * np.sin(2.0 * time + phases[0]) + np.sin(5.0 * time + phases[1])
    efforts *= [1.0, 0.2]
    start = jnp.array([-np.pi / 2, 0.2, 0.0, 0.0])
    observations = motion(real(), start, jnp.asarray(efforts))
    return ro.Trajectory(np.asarray(observations), efforts, STEP)


def write_csv(path, run, names, times=None):
    times = STEP * np.arange(run.steps + 1) if times is None else times
    efforts = np.concatenate([run.actions, run.actions[-1:]])
    table = np.column_stack([times, run.observations, efforts])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(map(repr, row) for row in table.tolist())


NAMES = [
    "time",
    *(
        f"{joint}_{quantity}"
        for quantity in ("position", "velocity", "effort")
        for joint in ("shoulder", "elbow")
    ),
]


@pytest.fixture(scope="module")
def identified(tmp_path_factory):
    """Return the folder of a run on three tables, and what it printed."""
    folder = tmp_path_factory.mktemp("identified")
    (folder / "runs_of_it").mkdir()
    for seed in range(3):
        path = folder / "runs_of_it" / f"run_{seed}.csv"
        write_csv(path, record(3.0, seed), NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lines = []
        patch.setattr(
            "builtins.print",
            lambda *a, file=None, **k: lines.append(" ".join(map(str, a))),
        )
        line = ["identify", "runs_of_it", "--urdf", str(TWO_LINK), *FREE]
        code = main([*line, "--log", "jsonl"])
    assert code == 0, lines
    return folder / "runs" / "two_link-identified", lines


def test_every_file_is_left(identified):
    folder, lines = identified
    assert {path.name for path in folder.iterdir()} == FILES | {"log.jsonl"}
    printed = "\n".join(lines)
    assert max(map(len, printed.splitlines())) <= 80 + len(str(folder))
    for text in ("95 % interval", "mass[forearm]", "constant velocity", "one step"):
        assert text in printed
    assert "4 of 4 parameters are identified" in printed
    assert "motors: drive every joint: shoulder, elbow" in lines


def test_the_parameters_are_those_of_the_real_arm(identified):
    folder, _ = identified
    with (folder / "parameters.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*FREE[1:3], "damping[shoulder]", "damping[elbow]"}
    mass = rows["mass[forearm]"]
    assert mass["unit"] == "kg" and mass["verdict"].startswith("known to")
    # The forearm's 0.6 kg and the tool's 0.05 kg move as one, and are told apart.
    assert float(mass["start"]) == pytest.approx(0.6)
    assert float(mass["estimate"]) == pytest.approx(HEAVIER * 0.6, rel=1e-3)
    tool = float(rows["mass[tool]"]["estimate"])
    assert tool == pytest.approx(HEAVIER * 0.05, rel=1e-3)
    assert float(mass["lower"]) < float(mass["estimate"]) < float(mass["upper"])
    damping = rows["damping[shoulder]"]
    assert float(damping["estimate"]) == pytest.approx(DAMPED, rel=1e-2)


def test_the_history_holds_every_step_that_the_log_was_told(identified):
    folder, _ = identified
    with (folder / "history.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    logged = (folder / "log.jsonl").read_text().splitlines()
    told = [(row["step"], row["loss"]) for row in map(json.loads, logged)]
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == told
    fits = [float(row["fit"]) for row in rows]
    assert fits == sorted(fits) and {*fits} == {*range(1, int(fits[-1]) + 1)}
    assert fits[-1] > 1


def test_the_model_loads_and_predicts_as_the_arm_moves(identified):
    folder, _ = identified
    model = ro.load(folder / "model.npz")
    run = record(1.0, seed=7)
    error = ro.PredictionError(horizon=120)
    apart = np.asarray(error.errors(model, run))[:, -1]
    before = ro.Twin(ro.load_urdf(TWO_LINK), STEP)
    worse = np.asarray(error.errors(before, run))[:, -1]
    assert np.abs(apart).max() < 0.02 * np.abs(worse).max()


def test_the_urdf_is_that_of_the_fitted_robot(identified):
    folder, _ = identified
    fitted = ro.load(folder / "model.npz").robot
    robot = ro.load_urdf(
        folder / "identified.urdf", linear_damping=0.0, angular_damping=0.0
    ).merge_fixed()
    # The file may hold the tool beside the forearm, or within it.
    np.testing.assert_allclose(robot.masses.sum(), fitted.masses.sum(), rtol=1e-9)
    np.testing.assert_allclose(robot.damping, fitted.damping, rtol=1e-9)
    q = jnp.array([0.3, -0.7])
    np.testing.assert_allclose(robot.mass_matrix(q), fitted.mass_matrix(q), rtol=1e-8)


def test_the_gradient_is_explained(identified, capsys):
    folder, *_ = identified
    assert main(["explain", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.count("The gradient at a loss of") == 2 and "mass[forearm]" in said
    assert max(map(len, said.splitlines())) <= 80


def test_the_report_holds_the_tables(identified):
    folder, _ = identified
    page = (folder / "report.html").read_text("utf-8").replace("<wbr>", "")
    for title in (
        *("Parameters", "Forecasts", "Predicted and measured motion"),
        *("Identifiability", "The fits", "Recordings"),
    ):
        assert f"<h2>{title}</h2>" in page
    for cell in ("mass[forearm]", "95 % interval", "elbow velocity [rad/s]"):
        assert cell in page
    assert "run_2.csv" in page
    assert page.count("<svg") == 2 + 4 + 4 + 2 + 1
    assert "<h2>Gradient" not in page  # nothing but rounding is left
    assert "http://" not in page and "https://" not in page


def test_the_settings_say_what_tune_needs(identified):
    folder, _ = identified
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["robot"] == {"urdf": str(TWO_LINK.resolve())}
    assert settings["run"]["time_step"] == pytest.approx(STEP)
    assert settings["run"]["actuated"] == ["shoulder", "elbow"]
    assert settings["flags"]["free"] == list(FREE[1:])
    assert settings["result"]["reason"] in ("tolerance", "steps")


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Return a function that runs a command and gives back what it said last."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        assert main(line.split() if isinstance(line, str) else line) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert lines[-1].startswith("roboopt: error: ")
        left = {path.name for path in (tmp_path / "runs").glob("*")}
        assert left <= {"mine"}
        return printed.err

    return run


wrong = {
    "x.csv": "--urdf",
    "--urdf {u}": "--collect",
    "--env arm": "--collect",
    "--env kuka --collect": "--env must be one of arm, cart-pole",
    "--env arm --robot kuka --collect": "--robot must be one of two-link, iiwa",
    "--env cart-pole --robot iiwa --collect": "--robot is for --env arm, got cart-pole",
    "--robot iiwa --urdf {u} --collect": "--robot and --urdf exclude each other",
    "x.csv --urdf y.urdf": "--urdf must be a file, got y.urdf",
    "x.csv --urdf {u}": "x.csv",
    "{u} --urdf {u}": "two_link.urdf",
    "x.csv --env arm --collect": "--collect",
    "minari:a --urdf {u} --duration 3": "--duration is for --collect, got 3.0",
    "minari:a --urdf {u} --randomize 0.3": "--randomize is for --collect, got 0.3",
    "--env arm --collect --time t": "--time is for recordings, got t",
    "--env arm --collect --randomize 1": "--randomize must be 0 or more and below 1",
    "--env arm --collect --duration 0": "--duration must be positive",
    "--env arm --collect --time-step 0": "--time-step must be positive",
    "--env arm --collect --seed -1": "--seed must be at least 0, got -1",
    "minari:a --urdf {u} --error all": "--error must be one of auto, motion, effort",
    "minari:a --urdf {u} --cutoff 0": "--cutoff must be positive, got 0",
    "minari:a --urdf {u} --prior -1": "--prior must be at least 0",
    "minari:a --urdf {u} --held-out 1": "--held-out must be 0 or more and below 1",
}


@pytest.mark.parametrize("line", wrong)
def test_what_is_wrong_is_said_in_a_line(line, refused):
    message = refused(f"identify {line.format(u=TWO_LINK)}")
    assert wrong[line] in message


def test_recordings_that_do_not_fit_are_said_in_a_line(tmp_path, refused):
    run = record(0.5)
    with_urdf = f"--urdf {TWO_LINK}"
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(f"identify empty {with_urdf}")
    write_csv(tmp_path / "run.csv", run, ["time", *"abcdef"])
    message = refused(f"identify run.csv {with_urdf}")
    assert "--time, --positions, --velocities and --efforts" in message
    ro.Trajectory(run.observations[:, :3], run.actions, STEP).save(tmp_path / "few.npz")
    message = refused(f"identify few.npz {with_urdf}")
    assert "RECORDING must hold positions and velocities of the 2 joints" in message
    assert "few.npz" in message
    ro.Trajectory(run.observations, run.actions[:, :1], STEP).save(tmp_path / "one.npz")
    message = refused(f"identify one.npz {with_urdf}")
    assert "one.npz holds 1 and the robot has the joints shoulder, elbow" in message
    assert "by --actuated" in message
    message = refused(f"identify one.npz {with_urdf} --actuated wrist")
    assert "--actuated must be 'all', or name joints" in message


def test_recordings_of_the_test_are_named_once(tmp_path, refused):
    record(0.5).save(tmp_path / "run.npz")
    both = f"identify run.npz --urdf {TWO_LINK} --test run.npz --held-out 0.5"
    assert "--test and --held-out exclude each other" in refused(both)
    message = refused(f"identify run.npz --urdf {TWO_LINK} --test missing.npz")
    assert "missing.npz is missing" in message


def test_a_time_step_of_recordings_is_shorter_than_they_are(tmp_path, refused):
    record(0.5).save(tmp_path / "run.npz")
    message = refused(f"identify run.npz --urdf {TWO_LINK} --resample 2")
    assert "--resample" in message and "at most the duration" in message


@pytest.mark.parametrize(
    "flag, value",
    [
        *(("--resample", x) for x in ("0", "-1", "nan", "inf")),
        *(("--cutoff", x) for x in ("0", "nan")),
        *(("--ties", x) for x in ("", ",", "mass", "mass,mass", "mass[foo],mass[bar]")),
        *(("--test", x) for x in ("", "missing.npz", "notes.md")),
        *(("--locked", x) for x in ("", "wrist", "shoulder=x", "shoulder=nan")),
        *(("--held-out", x) for x in ("1", "nan")),
        *(("--time", ""), ("--steps", "0"), ("--prior", "-1"), ("--horizon", "0")),
        *(("--error", "none"), ("--free", "foo")),
    ],
)
def test_wrong_values_are_refused_before_a_recording_is_read(
    tmp_path, refused, flag, value
):
    (tmp_path / "broken.csv").write_text("t,q1\n0,x\n")  # which says so, once read
    (tmp_path / "notes.md").touch()
    words = f"identify broken.csv --urdf {TWO_LINK} --no-video {flag}".split()
    message = refused([*words, value])
    shown = {"nan": "nan", "": "''"}.get(value, value.split(",")[0].split("=")[-1])
    assert f"{flag}" in message and shown in message and "broken" not in message
    assert not (tmp_path / "runs").exists()


def test_parameters_that_are_tied_must_be_fitted(tmp_path, refused):
    record(0.5).save(tmp_path / "run.npz")
    message = refused(f"identify run.npz --urdf {TWO_LINK} --ties damping[elbow],wrist")
    assert "--ties must" in message and "wrist" in message


@pytest.mark.slow
def test_named_recordings_judge_the_motion(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record(2.0).save(tmp_path / "fitted.npz")
    record(1.0).save(tmp_path / "test.npz")
    line = (
        f"identify fitted.npz --urdf {TWO_LINK} --test test.npz --error motion "
        "--name m --free damping --ties damping[shoulder],damping[elbow] --no-video"
    )
    assert main(line.split()) == 0
    settings = json.loads((tmp_path / "runs/m/settings.json").read_text("utf-8"))
    parts = {one["name"]: one for one in settings["run"]["recordings"]}
    assert "1 of 1 parameters are identified" in capsys.readouterr().out
    assert set(parts) == {"fitted.npz", "test.npz"}


def test_a_parameter_that_is_none_lists_those_there_are(tmp_path, refused):
    record(0.5).save(tmp_path / "run.npz")
    message = refused(f"identify run.npz --urdf {TWO_LINK} --free help")
    assert "--free must name parameters" in message
    assert "shear.yz" in message and "gravity.z" in message


def test_an_error_in_a_recording_ends_the_command(tmp_path, refused):
    run = record(0.5)
    observations = run.observations.copy()
    observations[3, 1] = 1e12
    ro.Trajectory(observations, run.actions, STEP).save(tmp_path / "bad.npz")
    message = refused(f"identify bad.npz --urdf {TWO_LINK}")
    assert "RECORDING must be free of errors, got 1: bad.npz: " in message
    observations[3:30:2, 1] = np.nan
    ro.Trajectory(observations, run.actions, STEP).save(tmp_path / "gap.npz")
    message = refused(f"identify gap.npz --urdf {TWO_LINK}")
    assert "14 samples, between 3 and 29, lack position of elbow, 12 % of" in message


@pytest.mark.slow
def test_columns_can_be_named_and_only_driven_joints_have_efforts(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "run.csv", record(3.0), ["when", *"abcdef"])
    line = (
        f"identify run.csv --urdf {TWO_LINK} --time when --positions a,b --velocities "
        "c,d --efforts e,f --free damping[elbow] --name mine"
    )
    assert main(line.split()) == 0
    settings = json.loads((tmp_path / "runs/mine/settings.json").read_text("utf-8"))
    assert settings["run"]["recordings"][0]["steps"] == 720
    capsys.readouterr()
    line = line.replace("--efforts e,f", "--efforts f --actuated elbow")
    assert main([*line.split(), "--overwrite"]) == 0
    settings = json.loads((tmp_path / "runs/mine/settings.json").read_text("utf-8"))
    assert settings["run"]["actuated"] == ["elbow"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arm", "CartPoleSwingUp"])
def test_a_simulated_robot_is_excited_and_what_is_true_is_told(
    kind, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    line = f"identify --env {kind} --collect --randomize 0.3 --duration 6 --name mine"
    assert main([*line.split(), "--free", "mass", "damping"]) == 0
    folder = tmp_path / "runs" / "mine"
    # Efforts are judged where every joint has a motor.
    passive = {"efforts.csv", "base_parameters.csv"} if kind != "arm" else set()
    expected = FILES - passive | {"recording.npz"}
    assert {path.name for path in folder.iterdir()} == expected
    with (folder / "parameters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [row for row in rows if row["verdict"].startswith("known to")]
    # The cart-pole has no damping: its estimate ends at its bound, 0.
    assert len(told) >= (3 if kind == "arm" else 2)
    for row in told:
        assert row["estimate"] != row["start"]
        np.testing.assert_allclose(
            float(row["estimate"]), float(row["true"]), rtol=0.02
        )
    assert 'class="replay"' in (folder / "report.html").read_text("utf-8")
    assert "The true value lies inside" in capsys.readouterr().out
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["robot"]["environment"] in ("arm", "cart-pole")
