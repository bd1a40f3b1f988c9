"""The flags of a simulated robot mean the keywords of its environment."""

import dataclasses
from pathlib import Path

import pytest

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._config import defaults_from
from roboopt.cli._flag_names import name_flag
from roboopt.cli._flags import parse
from roboopt.cli._run import flags_of
from roboopt.cli._simulation import Simulation
from roboopt.cli.collect import Collect
from roboopt.cli.identify import Identify
from roboopt.cli.reinforce import Reinforce
from roboopt.cli.tune import Tune
from roboopt.data import write_json

COMMANDS = {"tune": Tune, "identify": Identify, "reinforce": Reinforce}
ALL = (
    "--tool hand --tool-offset=-0.1,0,2e-1 --actuated a,b --locked c,d=0.5 "
    "--effort-limits 10,20 --repair "
    "--bullet-defaults --xacro-arg prefix=l_ --xacro-arg n:=2 "
    "--time-step 0.002 --control-period 0.02 --randomize 0.1 --interface position "
    "--drive position_gain=30,lag=0.01:0.02"
)
ARM = """<robot name="arm"><link name="base"/><link name="a"><inertial>
<mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
</link><joint name="q" type="revolute"><parent link="base"/><child link="a"/>
<axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="5"/></joint></robot>"""


def parsed(command, line):
    return parse(command, "roboopt", line.split())


@pytest.mark.parametrize("command", [*COMMANDS.values(), Collect])
def test_every_command_has_them(command, tmp_path):
    line = f"{ALL} --package arm={tmp_path} --package hand={tmp_path}"
    if command is Collect:
        line = f"roboopt/ArmReach-v0 {line}"
    options = parsed(command, line).simulation.options()
    assert options == {
        "tool": "hand",
        "tool_offset": (-0.1, 0.0, 0.2),
        "actuated": ("a", "b"),
        "locked": {"c": 0.0, "d": 0.5},
        "effort_limits": (10.0, 20.0),
        "packages": {"arm": str(tmp_path), "hand": str(tmp_path)},
        "repair": True,
        "bullet_defaults": True,
        "xacro_args": {"prefix": "l_", "n": "2"},
        "time_step": 0.002,
        "control_period": 0.02,
        "interface": "position",
        "drive": {"position_gain": 30.0, "lag": (0.01, 0.02)},
        "randomize": 0.1,
    }


@pytest.mark.parametrize("command", [Tune, Reinforce, Collect])
def test_commands_that_act_take_the_flags_of_balancing(command):
    line = "--upright pole=3.14,cart --start-half-width 0.1,0.2"
    line = f"roboopt/RobotTask-v0 {line}" if command is Collect else line
    assert parsed(command, line).simulation.options() == {
        "upright": {"pole": 3.14, "cart": 0.0},
        "start_half_width": (0.1, 0.2),
    }


def test_what_is_not_given_is_left_to_the_environment():
    assert Simulation().options() == {}
    assert parsed(Tune, "--locked a,b").simulation.options() == {"locked": ("a", "b")}
    given = parsed(Tune, "--effort-limits 7 --actuated all").simulation.options()
    assert given == {"effort_limits": 7.0, "actuated": "all"}


def test_effort_limits_may_be_named():
    given = parsed(Tune, "--effort-limits lift=7,wrist=2.5").simulation.options()
    assert given == {"effort_limits": {"lift": 7.0, "wrist": 2.5}}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_repeats_with_its_settings(name, tmp_path):
    command = COMMANDS[name]
    before = parsed(command, ALL)
    write_json(tmp_path / "settings.json", flags_of(before))
    again = defaults_from(tmp_path, command)
    assert again.simulation == before.simulation
    changed = parse(command, "roboopt", ["--tool", "cup"], again)
    expected = dataclasses.replace(before.simulation, tool="cup")
    assert changed.simulation == expected


def test_messages_name_the_flags_of_a_command():
    said = "`tool` must be a link: hold `fingers` by `locked=('a',)`, as `tool`."
    expected = "--tool must be a link: hold `fingers` by --locked a, as `tool`."
    assert name_flag(said, Tune) == expected
    said = "`robot`: give `effort_limits`."
    assert name_flag(said, Tune()) == "--robot: give --effort-limits."
    said = "drive them by `actuated='all'`. Give `repair=True`."
    assert name_flag(said, Tune) == "drive them by --actuated all. Give --repair."
    said = "Say so by `actuated=[]`, or as in `locked=['a', 'b']`; `x=1` stays."
    expected = "Say so by --actuated none, or as in --locked a,b; `x=1` stays."
    assert name_flag(said, Tune) == expected
    said = "`robot`: give `effort_limits`."
    named = Tune(urdf=Path("arm.urdf"))
    assert name_flag(said, named) == "--urdf: give --effort-limits."
    said = "driven by none (`actuated='all'` does): `repair=True` replaces them; `q=1`."
    expected = "driven by none (--actuated all does): --repair replaces them; `q=1`."
    assert name_flag(said, Collect) == expected
    said = "give 'p' a value by `xacro_args`, lock by `locked=['a', 'b']`"
    assert name_flag(said, Collect).endswith("by --xacro-arg, lock by --locked a,b")
    assert name_flag("give `tool`", None) == "give `tool`"


WRONG = {
    "tune cart-pole --tool cart": "--tool must be left out for roboopt/CartPoleBalance",
    "reinforce CartPole-v1 --locked cart": "--locked must be left out for CartPole-v1",
    "collect CartPole-v1 --repair": "--repair must be left out for CartPole-v1",
    "tune arm --urdf arm.urdf --locked x": "--locked must name joints",
    "tune arm --urdf arm.urdf --locked q=up": "--locked q: must be a number, got 'up'",
    "tune arm --urdf arm.urdf --package arm": "--package must be NAME=PATH",
    "tune arm --urdf arm.urdf --effort-limits -1": "--effort-limits must",
    "identify --urdf arm.urdf --collect --locked x": "--locked must name joints",
    "tune --urdf arm.urdf --effort-limits p=9": "--effort-limits must name driven",
    "tune --urdf arm.urdf --effort-limits q=-3": "--effort-limits must be positive",
    "tune --urdf arm.urdf --effort-limits q=3,4": "--effort-limits must be JOINT=LIMIT",
    "tune --urdf arm.urdf --upright q=1": "--upright must be left out for "
    "roboopt/ArmReach-v0, which takes --tool, --tool-offset, --actuated, ",
    "collect roboopt/ArmReach-v0 --option robot=no.urdf": "--option robot must be one",
    "reinforce roboopt/ArmReach-v0 --option robot=heavy.urdf": "--option robot: `mass`",
    "tune --urdf arm.urdf --xacro-arg a=b": "--urdf: a .xacro file alone takes",
    "identify --urdf arm.urdf --tool a x.npz": "--tool is for --collect",
    "identify --env cart-pole --collect --repair": "--repair is for --env arm",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_said_by_the_flag(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm.urdf").write_text(ARM)
    (tmp_path / "heavy.urdf").write_text(ARM.replace('mass value="', 'mass value="-'))
    assert main(line.split()) == 2
    assert f"error: {WRONG[line]}" in capsys.readouterr().err


def test_the_warnings_of_a_command_name_its_flags(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm.urdf").write_text(ARM.replace(' effort="5"', ""))
    assert main(["tune", "--urdf", "arm.urdf", "--tool", "nothing"]) == 2
    printed = capsys.readouterr().err
    assert "error: --tool must" in printed and "`" not in printed


def test_the_verb_takes_the_options_of_its_environment():
    with pytest.raises(ro.RobooptError, match="`locked` must be left out"):
        ro.tune("cart-pole", options={"locked": ("cart",)})
    with pytest.raises(ro.RobooptError, match="`tool`"):
        ro.tune("arm", options={"tool": "none"})


@pytest.mark.parametrize(
    "line, said",
    {
        "--locked a,z=abc": "--locked z: must be a number, got 'abc'",
        "--effort-limits 1,abc": "--effort-limits 1,abc: must be a number, got 'abc'",
        "--effort-limits a=1,b": "--effort-limits must be JOINT=LIMIT throughout, or "
        "numbers alone, got 'b'",
        "--xacro-arg prefix": "--xacro-arg must be NAME=VALUE, got 'prefix'",
    }.items(),
)
def test_a_bad_value_is_shown_with_its_joint(line, said):
    with pytest.raises(ro.RobooptError, match=f"^{said}$"):
        parsed(Tune, line).simulation.options()


@pytest.mark.parametrize("command", ["collect", "reinforce"])
def test_an_environment_names_the_flag_of_its_argument(command, tmp_path, capsys):
    path = tmp_path / "arm.urdf"
    path.write_text(ARM)
    line = f"{command} roboopt/ArmReach-v0 --option robot={path} --locked nope"
    if command == "reinforce":
        line += f" --runs {tmp_path / 'runs'}"
    assert main(line.split()) == 2
    expected = "roboopt: error: --locked must name joints of ['q'], got ['nope']"
    assert capsys.readouterr().err.splitlines()[-1].startswith(expected)


def test_a_misspelt_argument_of_a_xacro_file_is_named(tmp_path, capsys):
    pytest.importorskip("xacrodoc")
    path = tmp_path / "arm.urdf.xacro"
    head = "<robot name='arm' xmlns:xacro='http://www.ros.org/wiki/xacro'>"
    head += "<xacro:arg name='gripper' default='none'/>"
    path.write_text(ARM.replace('<robot name="arm">', head))
    assert main(["tune", "--urdf", str(path), "--xacro-arg", "griper=x"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    expected = f"roboopt: error: --xacro-arg must name arguments of {path}"
    assert said.startswith(expected) and "gripper, got 'griper'" in said


def test_an_environment_that_cannot_be_made_is_no_flag(capsys):
    assert main(["collect", "Nowhere-v0"]) == 2
    assert "environment Nowhere-v0 cannot be made" in capsys.readouterr().err


def test_a_list_goes_on_where_its_flag_is_given_again():
    twice = parsed(Tune, "arm --log jsonl --log tensorboard --locked a=1 --locked b=2")
    assert twice.output.log == "jsonl,tensorboard"
    assert twice.simulation.locked == "a=1,b=2"
    assert parsed(Tune, "--controller pd --controller lqr").controller == "lqr"
