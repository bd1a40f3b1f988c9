"""Command lines that are wrong, made by rule from the flags of every command.

    python wrong_lines.py FOLDER FIRST STEP

The lines are run one after the other in FOLDER, and one line of JSON is printed for
each that ends in another way than exit code 0, or 2 and one line that says why.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import jax
import numpy as np

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._flags import KINDS, all_flags, groups
from roboopt.cli._main import COMMANDS
from roboopt.optimize._least_squares import _Search
from roboopt.optimize._run import Run

BASES = {
    "tune": "cart-pole --steps 1 --episodes 1 --starts 1 --duration 0.1 --no-video",
    "identify": "--collect --env cart-pole --duration 1 --steps 1 --no-video",
    "collect": "CartPole-v1 --demonstrator mine:act --episodes 1 --max-steps 3",
    "clone": "demos.npz --steps 1 --width 2 --depth 1 --episodes 1 --no-video",
    "reinforce": "CartPole-v1 --timesteps 8 --episodes 1 --max-steps 3 --width 2 "
    "--depth 1 --envs 2 --no-video",
    "explain": "nowhere",
    "report": "nowhere",
    "view": "nowhere",
    "compare": "nowhere",
    "export": "policy.npz",
}
"""A short run of each command."""
NUMBERS = {
    int: ("abc", "1.5", "-3", "99999999999999999999", "nan", ""),
    float: ("abc", "-1", "nan", "inf", "-inf", "1e400", "1e-320", ""),
}
PATHS = (
    "nowhere",
    "folder",
    "empty",
    "noise",
    "folder/x/y",
    "",
    "~/nowhere",
    "a" * 300,
)
TEXTS = ("", "=", ",", "nosuch", "nosuch=abc", "nosuch=1,other", "nan", "-1", "a,b,c,d")
EXTRA = """
tune no-such-env
tune cart-pole --task mine:nothing
tune cart-pole --task nomodule:nothing
tune --urdf robot.urdf --task nofile.py:Task
tune --urdf robot.urdf --task mine:Broken
tune --urdf robot.urdf --task mine:act
tune --urdf noise
tune --urdf folder
tune --urdf empty
tune --urdf robot.urdf --xacro-arg a=b
tune --urdf robot.xacro --xacro-arg sied=left
tune --urdf robot.urdf --locked nosuch
tune --urdf robot.urdf --tool nosuch
tune --urdf robot.urdf --actuated nosuch
tune --urdf robot.urdf --effort-limits 1,2,3
tune --urdf robot.urdf --package meshes=nowhere
tune cart-pole --model noise
tune cart-pole --model folder
tune cart-pole --model policy.npz
tune cart-pole --controller noise
tune cart-pole --controller policy.npz
tune cart-pole --controller demos.npz
tune cart-pole arm
tune cart-pole --robot two-link --urdf robot.urdf
tune cart-pole --config noise
tune cart-pole --config folder
tune cart-pole --config empty
tune cart-pole --runs noise
tune cart-pole --name a/b
tune CartPole-v1
tune Pendulum-v1
identify
identify table.csv
identify table.csv --urdf robot.urdf --time nosuch
identify table.csv --urdf robot.urdf --positions a,b
identify table.csv --urdf robot.urdf --free nosuch
identify table.csv --urdf robot.urdf --error nosuch
identify table.csv --urdf noise
identify noise --urdf robot.urdf
identify empty.csv --urdf robot.urdf
identify empty.npz --urdf robot.urdf
identify folder --urdf robot.urdf
identify minari:nosuch/x-v0 --urdf robot.urdf
identify --collect --env cart-pole table.csv
identify --collect --urdf robot.urdf --robot iiwa
collect
collect nosuch-v0
collect CartPole-v1
collect CartPole-v1 --demonstrator nosuch
collect CartPole-v1 --demonstrator nomodule:act
collect CartPole-v1 --demonstrator mine:nothing
collect CartPole-v1 --demonstrator mine:Broken
collect CartPole-v1 --demonstrator policy.npz
collect CartPole-v1 --demonstrator noise
collect CartPole-v1 --demonstrator demos.npz
collect CartPole-v1 --demonstrator mine:act --option nosuch=3
collect CartPole-v1 --demonstrator mine:act --option =
collect CartPole-v1 --demonstrator mine:act --noise 0.1
collect CartPole-v1 --demonstrator mine:act --only-successes --max-steps 2
collect CartPole-v1 --demonstrator mine:act --out x.txt
collect CartPole-v1 --demonstrator mine:act --out folder
collect CartPole-v1 --demonstrator mine:act --out demos.npz
collect CartPole-v1 --demonstrator mine:act --out nowhere/x.npz
collect nomodule:Env-v0
clone
clone nowhere
clone folder
clone empty
clone noise
clone empty.hdf5
clone noise.npz
clone policy.npz
clone robot.urdf
clone minari:nosuch/x-v0
clone demos.npz --env nosuch-v0
clone demos.npz --env Pendulum-v1 --steps 1 --episodes 1
clone demos.npz --dagger 1
clone demos.npz --policy categorical
clone demos.npz --demonstrator nowhere
clone demos.npz --held-out 1
clone demos.npz --loss l3
reinforce
reinforce CartPole-v1 --from noise
reinforce CartPole-v1 --from folder
reinforce CartPole-v1 --from demos.npz
reinforce CartPole-v1 --resume folder
reinforce --resume folder
reinforce --resume noise
reinforce --config folder
reinforce CartPole-v1 --option nosuch=1
reinforce CartPole-v1 --option nosuch
reinforce CartPole-v1 --algorithm ppo --gradient analytic
reinforce CartPole-v1 --urdf robot.urdf
explain
explain folder
explain noise
explain policy.npz
explain demos.npz
export
export folder
export noise
export demos.npz
export policy.npz --out noise
export policy.npz --observation-size 0
export policy.npz --observation-size 3
tune cart-pole --delay 0.1,0.2,0.3
tune cart-pole --delay 1e9
tune cart-pole --delay ,
tune cart-pole --duration 1e9
tune cart-pole --interface duty --drive resistance=2
tune cart-pole --drive resistance=2,torque_constant=0.02:0.03
tune cart-pole --drive lag=1,lag=2
tune cart-pole --drive delay=1e9
tune cart-pole --interface velocity --controller lqr
tune cart-pole --task track
tune arm --reference empty.csv
tune arm --reference table.csv
tune arm --task reach --reference table.csv
tune --urdf robot.urdf --task balance --upright pole=inf
tune --urdf robot.urdf --task balance --actuated ,
tune --urdf robot.urdf --task balance --effort-limits cart=1,cart=2
tune CartPole-v1 --interface position
identify table.csv --urdf robot.urdf --locked pole --control-period 0.1
identify table.csv --urdf robot.urdf --locked pole --interface voltage
identify infinite.csv --urdf robot.urdf --locked pole
identify --collect --env arm --interface duty
collect CartPole-v1 --demonstrator mine:act --ray nowhere:1
collect CartPole-v1 --demonstrator mine:act --option a=1 a=2
collect roboopt/ArmReach-v0 --interface voltage
reinforce roboopt/ArmReach-v0 --drive resistance=1
reinforce CartPole-v1 --interface torque
nosuch
--nosuch
tune --nosuch
-x
"""


def prepare(folder: Path) -> None:
    """Write the files that the lines name, wrong ones and right ones."""
    random = np.random.default_rng(0)
    (folder / "folder").mkdir()
    for name in ("empty", "empty.csv", "empty.npz", "empty.hdf5"):
        (folder / name).write_bytes(b"")
    for name in ("noise", "noise.npz"):
        (folder / name).write_bytes(random.bytes(500))
    key = jax.random.key(0)
    policy = ro.policies.MLPPolicy.bounded(np.ones(4), np.ones(1), key=key, width=2)
    ro.save(folder / "policy.npz", policy)
    episode = ro.Trajectory(random.normal(size=(9, 4)), random.normal(size=(8, 1)), 0.1)
    ro.data.save_episodes(folder / "demos.npz", [episode] * 4)
    from roboopt_envs.cart_pole import URDF

    text = Path(URDF).read_text()
    (folder / "robot.urdf").write_text(text)
    (folder / "robot.xacro").write_text(text)
    rows = "\n".join(f"{0.01 * k},0,0,0,0,0" for k in range(30))
    (folder / "table.csv").write_text(f"time,q1,q2,dq1,dq2,tau1\n{rows}")
    (folder / "infinite.csv").write_text(
        f"time,q1,dq1,tau1\n{rows}".replace(",0,0,0,0,0", ",0,1e999,0")
    )
    (folder / "mine.py").write_text(
        "def act(observation):\n    return 0\n"
        "def fails(observation):\n    raise KeyError('x')\n"
        "class Broken: pass\n"
    )


def values_of(hint: Any, field: Any) -> Iterator[str | None]:
    """Yield wrong values of a flag, None for a value that is missing."""
    kind = next(k for k in (hint, *get_args(hint)) if k in KINDS)
    if hint is bool:
        yield "surplus"
        return
    if get_origin(hint) is not tuple and not field.metadata["positional"]:
        yield None
    if field.metadata["choices"]:
        yield from ("nosuch", "")
    elif kind in NUMBERS:
        yield from NUMBERS[kind]
    else:
        yield from PATHS if kind is Path else TEXTS


def hinted(place: str) -> tuple[Any, dict[str, Any]]:
    """Return a command and the types of its flags, those of its groups among them."""
    module, _, kind = place.partition(":")
    command = getattr(import_module(module), kind)
    hints = get_type_hints(command)
    for group in groups(command).values():
        hints |= get_type_hints(group)
    return command, hints


def wrong_lines() -> list[list[str]]:
    """Return the words of each command line."""
    lines: list[list[str]] = []
    lines += [list(map(str, line.split())) for line in EXTRA.strip().splitlines()]
    for name, place in COMMANDS.items():
        command, hints = hinted(place)
        base = [name, *BASES[name].split()]
        for flag, field in all_flags(command).items():
            if flag in ("name", "runs"):
                continue
            spelled = f"--{flag.replace('_', '-')}"
            lines.append([*base, f"{spelled}x"])
            for value in values_of(hints[field.name], field):
                words = [] if value is None else [value]
                if field.metadata["positional"]:
                    lines.append([name, *words, *base[2:]])
                else:
                    lines.append([*base, spelled, *words])
    return lines


@dataclasses.dataclass
class Ended:
    """How a line ended that must not."""

    line: str
    code: Any
    said: str


class Hanging(BaseException):
    """A line that takes too long."""


class Accepted(BaseException):
    """A line that gets as far as the descent."""


def accept(*_: Any, **__: Any) -> None:
    """Stand in for the work of a command, which takes seconds."""
    raise Accepted


def run(words: list[str], limit: float = 60.0) -> tuple[Ended | None, float]:
    """Run a command line; return how it ended unless as it must, and its time [s]."""

    def hangs(*_: Any) -> None:
        raise Hanging

    out, err = io.StringIO(), io.StringIO()
    code, trace, begin = None, "", time.process_time()
    signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except Accepted:
        code = 0
    except (Exception, SystemExit, Hanging):
        trace = traceback.format_exc(limit=-4)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    took = time.process_time() - begin
    said = [line for line in err.getvalue().splitlines() if "roboopt: error:" in line]
    if not trace and (
        code == 0 or code == 2 and (len(said) == 1 or not err.getvalue())
    ):
        return None, took
    return Ended(" ".join(map(repr, words)), code, trace or err.getvalue()), took


def run_all(folder: Path, lines: list[list[str]]) -> Iterator[tuple[Any, Any, float]]:
    """Yield the number of each line, how it ended, and its time."""
    import os

    os.chdir(folder)
    prepare(Path("."))
    Run.descend = _Search.step = accept  # type: ignore
    for words in lines:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ended, took = run(words)
        yield words, ended, took


if __name__ == "__main__":
    place, first, step = sys.argv[1:]
    chosen = list(itertools.islice(wrong_lines(), int(first), None, int(step)))
    print(len(chosen), "of", len(wrong_lines()), flush=True)
    for words, ended, took in run_all(Path(place), chosen):
        if ended is not None:
            print(json.dumps(dataclasses.asdict(ended)), flush=True)
        if took > 5:
            print(f"slow {took:.1f} s", words, flush=True)
    print("done")
