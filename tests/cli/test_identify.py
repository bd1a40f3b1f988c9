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
from roboopt.cli._recorded import Recorded, simulated_step, split
from roboopt.cli._usage import UsageError

TWO_LINK = Path(roboopt_envs.arm.__file__).parent / "assets" / "two_link.urdf"
STEP = 1 / 240
FIT = ("--fit", "mass[forearm]", "mass[tool]", "damping")
FILES = {
    *("report.html", "model.npz", "identified.urdf", "parameters.csv"),
    "settings.json",
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
    return ro.Twin(robot, STEP)


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
        code = main(["identify", "runs_of_it", "--urdf", str(TWO_LINK), *FIT])
    assert code == 0, lines
    return folder / "runs" / "two_link-identified", lines


def test_every_file_is_left(identified):
    folder, lines = identified
    assert {path.name for path in folder.iterdir()} == FILES
    assert any("roboopt tune --model" in line for line in lines)


def test_the_parameters_are_those_of_the_real_arm(identified):
    folder, _ = identified
    with (folder / "parameters.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*FIT[1:3], "damping[shoulder]", "damping[elbow]"}
    mass = rows["mass[forearm]"]
    assert mass["unit"] == "kg" and mass["verdict"] == "identified"
    # The forearm's 0.6 kg and the tool's 0.05 kg move as one, and are told apart.
    assert float(mass["start"]) == pytest.approx(0.6)
    assert float(mass["estimate"]) == pytest.approx(HEAVIER * 0.6, rel=1e-3)
    tool = float(rows["mass[tool]"]["estimate"])
    assert tool == pytest.approx(HEAVIER * 0.05, rel=1e-3)
    assert float(mass["lower"]) < float(mass["estimate"]) < float(mass["upper"])
    damping = rows["damping[shoulder]"]
    assert float(damping["estimate"]) == pytest.approx(DAMPED, rel=1e-2)


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


def test_the_report_holds_the_tables(identified):
    folder, _ = identified
    page = (folder / "report.html").read_text("utf-8")
    for title in (
        *("Parameters", "Forecasts", "Predicted and measured motion"),
        *("What the recordings tell", "The recordings", "Settings"),
    ):
        assert f"<h2>{title}</h2>" in page
    for cell in ("mass[forearm]", "95 % interval", "elbow velocity [rad/s]"):
        assert cell in page
    assert "4 of 4 parameters identified; held-out forecasts at 0.5 s are" in page
    assert "2: run_2.csv" in page
    assert page.count("<svg") == 2 + 4 + 4
    assert "http://" not in page and "https://" not in page


def test_the_settings_say_what_tune_needs(identified):
    folder, _ = identified
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["robot"] == {"urdf": str(TWO_LINK.resolve())}
    assert settings["run"]["time_step"] == pytest.approx(STEP)
    assert settings["run"]["actuated"] == ["shoulder", "elbow"]
    assert settings["run"]["free"] == list(FIT[1:])
    assert settings["result"]["reason"] in ("tolerance", "steps")


@pytest.mark.slow
def test_what_came_out_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record(2.0).save(tmp_path / "run.npz")
    line = f"identify run.npz --urdf {TWO_LINK} --fit mass[forearm] --name mine"
    assert main(line.split()) == 0
    printed = capsys.readouterr().out
    for text in (
        *("parameter", "95 % interval", "mass[forearm]", "identified"),
        *("RMSE of forecasts", "one step", "constant velocity"),
        "1 of 1 parameters identified; held-out forecasts at ",
    ):
        assert text in printed
    assert (tmp_path / "runs" / "mine" / "model.npz").exists()


def test_a_run_from_its_own_folder_is_not_overwritten(refused, tmp_path):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    record(0.5).save(folder / "recording.npz")
    message = refused(
        f"identify runs/mine/recording.npz --urdf {TWO_LINK} --name mine --overwrite"
    )
    assert "would be overwritten" in message
    assert (folder / "recording.npz").exists()


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Return a function that runs a command and gives back what it said last."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        assert main(line.split()) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert lines[-1].startswith("roboopt: error: ")
        left = {path.name for path in (tmp_path / "runs").glob("*")}
        assert left <= {"mine"}
        return printed.err

    return run


wrong = {
    "x.csv": "name the robot: give --urdf, or --env, one of arm, cart-pole",
    "--urdf {u}": "give recordings of the robot, or --collect",
    "--env arm": "give recordings of the robot, or --collect",
    "--env kuka --collect": "--env must be one of arm, cart-pole, ArmReach",
    "--env arm --robot kuka --collect": "--robot must be one of two-link, iiwa",
    "--env cart-pole --robot iiwa --collect": "--robot is for --env arm, got cart-pole",
    "--robot iiwa --urdf {u} --collect": "--robot and --urdf exclude each other",
    "x.csv --urdf y.urdf": "--urdf must be a file, got y.urdf",
    "x.csv --urdf {u}": "a recording must be a file or folder, got x.csv",
    "{u} --urdf {u}": "a recording must end in .npz, .csv, .csv.gz, or begin with",
    "x.csv --env arm --collect": "--collect and recordings exclude each other",
    "minari:a --urdf {u} --duration 3": "--duration is for --collect, got 3.0",
    "minari:a --urdf {u} --randomize 0.3": "--randomize is for --collect, got 0.3",
    "--env arm --collect --time t": "--time is for recordings, got t",
    "--env arm --collect --randomize 1": "--randomize must be 0 or more and below 1",
    "--env arm --collect --duration 0": "--duration must be positive and finite",
    "--env arm --collect --time-step 0": "--time-step must be positive and finite",
    "--env arm --collect --seed -1": "--seed must be 0 or more, got -1",
    "minari:a --urdf {u} --error all": "--error must be one of auto, motion, effort",
    "minari:a --urdf {u} --cutoff 0": "--cutoff must be positive and finite, got 0",
    "minari:a --urdf {u} --prior -1": "--prior must be 0 or more and finite",
    "minari:a --urdf {u} --held-out 1": "--held-out must be 0 or more and below 1",
}


@pytest.mark.parametrize("line", wrong)
def test_what_is_wrong_is_said_in_a_line(line, refused):
    message = refused(f"identify {line.format(u=TWO_LINK)}")
    assert wrong[line] in message
    assert message.count("\n") == 1


def test_recordings_that_do_not_fit_are_said_in_a_line(tmp_path, refused):
    run = record(0.5)
    with_urdf = f"--urdf {TWO_LINK}"
    (tmp_path / "empty").mkdir()
    assert "empty holds no recording" in refused(f"identify empty {with_urdf}")
    write_csv(tmp_path / "run.csv", run, ["time", *"abcdef"])
    message = refused(f"identify run.csv {with_urdf}")
    assert "a recording lacks positions" in message
    assert "name them by --time, --positions, --velocities and --efforts" in message
    ro.Trajectory(run.observations[:, :3], run.actions, STEP).save(tmp_path / "few.npz")
    message = refused(f"identify few.npz {with_urdf}")
    assert "must hold positions and velocities of the 2 joints shoulder, elb" in message
    ro.Trajectory(run.observations, run.actions[:, :1], STEP).save(tmp_path / "one.npz")
    message = refused(f"identify one.npz {with_urdf}")
    assert "one.npz holds 1 actions, but the robot has the joints shoulder" in message
    assert "name the joints that they drive by --actuated" in message
    message = refused(f"identify one.npz {with_urdf} --actuated wrist")
    assert "--actuated must name joints of shoulder, elbow once each" in message


def test_a_parameter_that_is_none_lists_those_there_are(tmp_path, refused):
    record(0.5).save(tmp_path / "run.npz")
    message = refused(f"identify run.npz --urdf {TWO_LINK} --fit help")
    assert "--fit must name parameters of the robot, got 'help', which mat" in message
    assert "shear.yz of upper_arm, forearm, tool; damping, friction" in message
    assert message.endswith("gravity.x, gravity.y, gravity.z\n")


def test_an_error_in_a_recording_ends_the_command(tmp_path, refused):
    run = record(0.5)
    observations = run.observations.copy()
    observations[3, 1] = np.nan
    ro.Trajectory(observations, run.actions, STEP).save(tmp_path / "bad.npz")
    message = refused(f"identify bad.npz --urdf {TWO_LINK}")
    assert "roboopt: error: recording 0 (bad.npz): " in message
    assert "the recordings have 1 errors: mend these first" in message


@pytest.mark.slow
def test_columns_can_be_named_and_only_driven_joints_have_efforts(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "run.csv", record(3.0), ["when", *"abcdef"])
    line = (
        f"identify run.csv --urdf {TWO_LINK} --time when --positions a,b --velocities "
        "c,d --efforts e,f --fit damping[elbow] --name mine"
    )
    assert main(line.split()) == 0
    settings = json.loads((tmp_path / "runs/mine/settings.json").read_text("utf-8"))
    assert settings["run"]["recordings"][0]["steps"] == 720
    capsys.readouterr()
    line = line.replace("--efforts e,f", "--efforts f --actuated elbow")
    assert main([*line.split(), "--overwrite"]) == 0
    settings = json.loads((tmp_path / "runs/mine/settings.json").read_text("utf-8"))
    assert settings["run"]["actuated"] == ["elbow"]


def test_the_simulation_takes_whole_fractions_of_long_steps():
    def step_of(step):
        run = ro.Trajectory(np.zeros((3, 4)), np.zeros((2, 2)), step)
        return simulated_step([Recorded("a", run)])

    assert step_of(0.002) == 0.002
    assert step_of(1 / 240) == 1 / 240
    # 10 ms in steps of at most 4.17 ms are three of 3.33 ms.
    assert step_of(0.01) == pytest.approx(0.01 / 3)


def test_every_third_recording_is_held_out_or_the_end_of_each():
    runs = [
        ro.Trajectory(np.full((9, 2), float(k)), np.zeros((8, 1)), 0.1, times=times)
        for k, times in enumerate([None, np.arange(9.0) ** 1.5, None])
    ]
    recorded = [Recorded("a", run) for run in runs]
    parts = split(recorded, None)
    assert [run.observations[0, 0] for run in parts.training] == [0.0, 1.0]
    assert [run.observations[0, 0] for run in parts.held_out] == [2.0]
    parts = split(recorded, 0.25)
    assert [run.steps for run in parts.training] == [6] * 3
    assert [run.steps for run in parts.held_out] == [2] * 3
    # The second run's last two steps are from 6^1.5 to 8^1.5 s.
    times = np.asarray(parts.held_out[1].times)
    np.testing.assert_allclose(times[[0, -1]], [0, 8**1.5 - 6**1.5])
    assert parts.held_out[1].time_step == pytest.approx((8**1.5 - 6**1.5) / 2)
    assert split(recorded[:2], None).held_out[0].steps == 2
    assert split(recorded, 0.0).held_out == []
    with pytest.raises(UsageError, match="--held-out 0.01 leaves nothing of a"):
        split(recorded, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arm", "CartPoleSwingUp"])
def test_a_simulated_robot_is_excited_and_what_is_true_is_told(
    kind, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    line = f"identify --env {kind} --collect --randomize 0.3 --duration 6 --name mine"
    assert main([*line.split(), "--fit", "mass", "damping"]) == 0
    folder = tmp_path / "runs" / "mine"
    assert {path.name for path in folder.iterdir()} == FILES | {"recording.npz"}
    with (folder / "parameters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [row for row in rows if row["verdict"] == "identified"]
    assert len(told) >= 3
    for row in told:
        assert row["estimate"] != row["start"]
        np.testing.assert_allclose(
            float(row["estimate"]), float(row["true"]), rtol=0.02
        )
    assert "The true value lies inside" in capsys.readouterr().out
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["robot"]["environment"] in ("arm", "cart-pole")
