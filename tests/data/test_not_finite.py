"""Numbers that are not finite: refused in demonstrations, told of recordings."""

import json
import warnings

import numpy as np
import pytest

import roboopt as ro
from roboopt.data import (
    StreamedDemonstrations,
    Trajectory,
    load_episodes,
    load_recordings,
    save_episodes,
    save_minari,
)

STEPS = (20, 20, 20)
ENDS = np.cumsum(STEPS)


def episodes(array, value):
    """Three episodes of 20 steps; one number of the second is `value`, at step 7."""
    rng, runs = np.random.default_rng(0), []
    for k, steps in enumerate(STEPS):
        seen = rng.normal(size=(steps + 1, 3))
        run = Trajectory(seen, 0.5 * seen[:-1, :2], 0.05, rewards=np.ones(steps))
        if k == 1:
            getattr(run, array)[7, ...] = value
        runs.append(run)
    return runs


def flat(runs):
    seen = np.concatenate([run.observations[:-1] for run in runs])
    index = np.repeat(range(len(runs)), STEPS)
    return seen, np.concatenate([run.actions for run in runs]), index


def as_saved(name):
    def write(folder, runs):
        save_episodes(folder / name, runs)
        return folder / name

    return write


def as_npz(folder, runs):
    seen, acted, index = flat(runs)
    np.savez(path := folder / "x.npz", obs=seen, acts=acted, episode_index=index, dt=1)
    return path


def as_frame(folder, runs):
    pandas = pytest.importorskip("pandas")
    seen, acted, index = flat(runs)
    frame = pandas.DataFrame(np.hstack([seen, acted])).set_axis(
        [*(f"obs_{k}" for k in range(3)), "action_0", "action_1"], axis=1
    )
    return frame.assign(episode=index)


def as_csv(folder, runs):
    as_frame(folder, runs).to_csv(path := folder / "x.csv", index=False)
    return path


def as_parquet(folder, runs):
    as_frame(folder, runs).to_parquet(path := folder / "x.parquet")
    return path


def as_lerobot(folder, runs):
    pa, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    seen, acted, index = flat(runs)
    columns = {"observation.state": seen.tolist(), "action": acted.tolist()}
    for name in ("meta", "data"):
        (folder / name).mkdir()
    (folder / "meta" / "info.json").write_text(json.dumps({"fps": 20}))
    table = pa.table({**columns, "episode_index": index})
    parquet.write_table(table, folder / "data" / "file-000.parquet")
    return folder


def as_zarr(folder, runs):
    zarr = pytest.importorskip("zarr")
    seen, acted, _ = flat(runs)
    root = zarr.open_group(str(path := folder / "x.zarr"), mode="w", zarr_format=2)
    for name, values in (("state", seen), ("action", acted)):
        root.create_array(f"data/{name}", data=values)
    root.create_array("meta/episode_ends", data=ENDS)
    return path


def as_d4rl(folder, runs):
    h5py = pytest.importorskip("h5py")
    seen, acted, _ = flat(runs)
    with h5py.File(path := folder / "x.hdf5", "w") as file:
        file["observations"], file["actions"] = seen, acted
        file["terminals"] = np.zeros(len(seen), bool)
        file["timeouts"] = np.isin(np.arange(len(seen)), ENDS - 1)
    return path


def as_minari(folder, runs):
    pytest.importorskip("minari")
    save_minari("toys/reach-v0", runs)
    return "minari:toys/reach-v0"


FORMS = [as_saved("x.npz"), as_saved("x.hdf5"), as_saved("x")]
FORMS += [as_npz, as_frame, as_csv, as_parquet, as_lerobot, as_zarr, as_d4rl, as_minari]


@pytest.fixture(autouse=True)
def minari_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


@pytest.mark.filterwarnings("ignore:.*(none follows|time step|time_step|last action)")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("array", ["observations", "actions"])
def test_demonstrations_name_the_first_number_that_is_not_finite(tmp_path, form, array):
    source = form(tmp_path, episodes(array, np.nan))
    place = rf"finite numbers, but `{array}` of .*(episode |demo_)1 of .* nan at step 7"
    with pytest.raises(ro.RobooptError, match=f"^`path` must hold {place}"):
        load_episodes(source)
    with pytest.raises(ro.RobooptError, match=f"^`demonstrations` must hold {place}"):
        ro.clone(source, seconds=1.0)


@pytest.mark.filterwarnings("ignore:.*(none follows|time step|time_step|last action)")
@pytest.mark.parametrize("form", FORMS)
def test_infinite_demonstrations_are_refused(tmp_path, form):
    source = form(tmp_path, episodes("actions", -np.inf))
    with pytest.raises(ro.RobooptError, match="hold finite numbers, .*-inf"):
        load_episodes(source)


@pytest.mark.parametrize("name", ["x", "x.npz", "x.hdf5"])
@pytest.mark.parametrize("array", ["observations", "actions"])
def test_streamed_demonstrations_are_refused_too(tmp_path, name, array):
    save_episodes(tmp_path / name, episodes(array, np.nan))
    source = StreamedDemonstrations(tmp_path / name)
    with pytest.raises(ro.RobooptError, match=f"`{array}` of episode 1 .* at step 7"):
        source.block(0)


def test_limits_may_be_infinite_and_no_numbers_are_refused(tmp_path):
    (run, *_) = episodes("rewards", 1.0)
    high = np.full(run.actions.shape, np.inf)
    save_episodes(tmp_path / "x.npz", [Trajectory(*arrays(run), 0.1, high=high)])
    assert load_episodes(tmp_path / "x.npz")[0].steps == 20
    high[3] = np.nan
    save_episodes(tmp_path / "x.npz", [Trajectory(*arrays(run), 0.1, high=high)])
    with pytest.raises(ro.RobooptError, match="`high` of .* is nan at step 3, axis 0"):
        load_episodes(tmp_path / "x.npz")


def arrays(run):
    return run.observations, run.actions


def test_rewards_that_are_not_finite_are_told(tmp_path):
    save_episodes(tmp_path / "x.npz", episodes("rewards", np.nan))
    with pytest.warns(UserWarning, match="`rewards` of episode 1 .* nan at step 7"):
        load_episodes(tmp_path / "x.npz")


def test_recordings_of_a_robot_stay_readable(tmp_path):
    save_episodes(tmp_path / "x.npz", episodes("observations", np.nan))
    with pytest.warns(UserWarning, match="`observations` of episode 1 .* leaves such"):
        runs = load_recordings(tmp_path / "x.npz")
    assert len(runs) == 3


def test_an_action_that_is_missing_after_the_last_observation_is_none(tmp_path):
    rows = ["time,obs,action", *(f"{k / 10},{k},{2 * k}" for k in range(5)), "0.5,5,"]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (run,) = load_episodes(tmp_path / "x.csv")
    np.testing.assert_array_equal(run.observations[:, 0], range(6))
    np.testing.assert_array_equal(run.actions[:, 0], range(0, 10, 2))
