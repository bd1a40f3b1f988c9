"""Xacro files in a checkout, without a ROS workspace."""

import time

import pytest

from roboopt import RobooptError
from roboopt.urdf import read_urdf

pytest.importorskip("xacrodoc")

NAMESPACE = "xmlns:xacro='http://www.ros.org/wiki/xacro'"
MACRO = f"""<robot {NAMESPACE}>
  <xacro:include filename="$(find common)/urdf/numbers.xacro"/>
  <xacro:macro name="arm" params="prefix">
    <link name="${{prefix}}base"/>
    <link name="${{prefix}}upper">
      <visual><geometry>
        <mesh filename="package://missing/meshes/upper.stl"/>
      </geometry></visual>
      <inertial><mass value="${{mass}}"/>
        <inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
    </link>
    <joint name="${{prefix}}lift" type="continuous">
      <parent link="${{prefix}}base"/><child link="${{prefix}}upper"/>
    </joint>
  </xacro:macro>
</robot>"""
NUMBERS = f"""<robot {NAMESPACE}><xacro:property name="mass" value="2.5"/></robot>"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "include",
    [
        "macro.xacro",
        "../urdf/macro.xacro",
        "$(find my_arm)/urdf/macro.xacro",
        "$(find my_arm_description)/urdf/macro.xacro",
    ],
)
@pytest.mark.filterwarnings("ignore:.*no <limit>")
def test_includes_and_packages_are_found_around_the_file(tmp_path, include):
    write(tmp_path / "common" / "urdf" / "numbers.xacro", NUMBERS)
    write(tmp_path / "my_arm" / "urdf" / "macro.xacro", MACRO)
    text = f"<robot name='arm' {NAMESPACE}><xacro:include filename='{include}'/>"
    path = tmp_path / "my_arm" / "urdf" / "arm.urdf.xacro"
    model = read_urdf(write(path, f"{text}<xacro:arm prefix='left_'/></robot>"))
    assert model.joint_names == ("left_lift",)
    assert model.inertials["left_upper"].mass == 2.5
    # What becomes of a mesh is not decided here.
    mesh = model.element.find("link/visual/geometry/mesh")
    assert mesh is not None
    assert mesh.get("filename") == "package://missing/meshes/upper.stl"


def test_the_name_in_package_xml_counts_before_that_of_a_folder(tmp_path):
    other = NUMBERS.replace("2.5", "7.5")
    write(tmp_path / "common" / "urdf" / "numbers.xacro", NUMBERS)
    write(tmp_path / "src" / "urdf" / "numbers.xacro", other)
    write(tmp_path / "src" / "package.xml", "<package><name>common</name></package>")
    text = MACRO.replace("</robot>", "<xacro:arm prefix=''/></robot>")
    path = write(tmp_path / "my_arm" / "urdf" / "arm.xacro", text)
    assert read_urdf(path).inertials["upper"].mass == 7.5


def test_a_package_that_is_nowhere_is_named(tmp_path):
    path = write(tmp_path / "arm.xacro", MACRO.replace("common", "not_there"))
    with pytest.raises(RobooptError, match="`path`.*not_there"):
        read_urdf(path)


ARGUMENTS = {
    "a declared one": "<xacro:arg name='prefix'/>",
    "one that nothing declares": "",
}


@pytest.mark.parametrize("declared", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_without_a_default_are_given(tmp_path, declared):
    write(tmp_path / "common" / "urdf" / "numbers.xacro", NUMBERS)
    write(tmp_path / "arm" / "macro.xacro", MACRO)
    path = write(
        tmp_path / "arm" / "arm.urdf.xacro",
        f"<robot name='arm' {NAMESPACE}>{declared}"
        "<xacro:include filename='macro.xacro'/>"
        "<xacro:arm prefix='$(arg prefix)'/></robot>",
    )
    with pytest.raises(RobooptError, match="argument '?prefix.*by `xacro_args`"):
        read_urdf(path)
    model = read_urdf(path, xacro_args={"prefix": "right_"})
    assert model.joint_names == ("right_lift",)


def test_arguments_are_known_from_included_files_and_unmet_conditions(tmp_path):
    write(tmp_path / "common" / "urdf" / "numbers.xacro", NUMBERS)
    inner = MACRO.replace(
        "<link name", "<xacro:arg name='color' default='red'/><link name", 1
    )
    write(tmp_path / "arm" / "macro.xacro", inner)
    path = write(
        tmp_path / "arm" / "arm.urdf.xacro",
        f"<robot name='arm' {NAMESPACE}><xacro:arg name='prefix' default='a_'/>"
        "<xacro:if value='false'><xacro:arg name='mount' default=''/></xacro:if>"
        "<xacro:include filename='macro.xacro'/>"
        "<xacro:arm prefix='$(arg prefix)'/></robot>",
    )
    known = {"prefix": "b_", "color": "blue", "mount": "wall"}
    assert read_urdf(path, xacro_args=known).joint_names == ("b_lift",)
    expected = "^`xacro_args` must name .* color, mount, prefix, got 'prefx'.* prefix"
    with pytest.raises(RobooptError, match=expected):
        read_urdf(path, xacro_args={"prefx": "b_"})


def test_arguments_of_a_plain_file_are_refused(tmp_path):
    path = write(tmp_path / "arm.urdf", "<robot name='arm'/>")
    with pytest.raises(RobooptError, match="a .xacro file alone takes arguments"):
        read_urdf(path, xacro_args={"prefix": "left_"})


@pytest.mark.parametrize(
    "expression",
    [
        "(lambda: ().__class__.__base__.__subclasses__())()",
        "[x for x in [0] if ().__class__]",
        "(x for x in [0]).gi_frame",
        "'{0.__class__}'.format(0)",
        "f'{(0).__class__}'",
        "xacro.dotify.mro()",
        "python.vars(python.type)",
        "python['type'](0)",
        "(lambda: __import__('os'))()",
        "(lambda: __builtins__)()",
        "open('/etc/passwd')",
    ],
)
def test_an_expression_of_a_stranger_does_not_leave_it(tmp_path, expression):
    path = tmp_path / "robot.xacro"
    value = expression.replace("'", "&apos;")
    text = (
        f"<robot name='r' {NAMESPACE}><xacro:property name='a' value='${{{value}}}'/>"
    )
    write(path, f"{text}<link name='x${{a}}'/></robot>")
    with pytest.raises(RobooptError, match="must be a xacro file that compiles"):
        read_urdf(path)


def test_a_stranger_runs_no_shell(tmp_path):
    path, mark = tmp_path / "robot.xacro", tmp_path / "mark"
    classes = "().__class__.__base__.__subclasses__()"
    popen = f"[c for c in {classes} if c.__name__ == &apos;Popen&apos;][0]"
    value = f"${{(lambda: {popen}([&apos;touch&apos;, &apos;{mark}&apos;]))()}}"
    text = f"<robot name='r' {NAMESPACE}><xacro:property name='a' value='{value}'/>"
    write(path, f"{text}<link name='x${{a}}'/></robot>")
    with pytest.raises(
        RobooptError, match="`__subclasses__` may not be used|__class__"
    ):
        read_urdf(path)
    assert not mark.exists()


def doubled(first, step, last):
    """Return properties a0 to a50, each made of the one before, and a use of one."""
    steps = (
        f"<xacro:property name='a{k + 1}' value='{step.replace('LAST', f'a{k}')}'/>"
        for k in range(50)
    )
    return f"<xacro:property name='a0' value='{first}'/>{''.join(steps)}{last}"


def nested_macros(inner, call):
    steps = (
        f"<xacro:macro name='m{k + 1}' {inner}>{call.replace('LAST', f'm{k}')}"
        "</xacro:macro>"
        for k in range(40)
    )
    return f"<xacro:macro name='m0' {inner}><link/></xacro:macro>{''.join(steps)}"


USE = "<link name='${a50}'/>"
BOMBS = {
    "a power": "<link name='${9**9**9}'/>",
    "a shift": "<link name='${1 &lt;&lt; 10**10}'/>",
    "a repeated text": "<link name='${&quot;a&quot;*10**10}'/>",
    "a repeated list": "<link name='${10**10*[0]}'/>",
    "a padded text": "<link name='${&quot;%9999999999d&quot; % 1}'/>",
    "a range": "<link name='${len(list(range(10**10)))}'/>",
    "a factorial": "<link name='${math.factorial(10**7)}'/>",
    "a loop in a loop": "<link name='${[[1 for x in a] for y in a]}'/>",
    "a doubled text": doubled("xxxxxxxxxx", "${LAST}${LAST}", USE),
    "a doubled list": doubled("${[1,2]}", "${[LAST,LAST]}", USE),
    "a squared number": doubled("${9**99}", "${LAST*LAST}", USE),
    "doubled macros": nested_macros("", "<xacro:LAST/><xacro:LAST/>") + "<xacro:m40/>",
    "a macro in itself": "<xacro:macro name='m'><xacro:m/></xacro:macro><xacro:m/>",
    "deep elements": "<a>" * 3000 + "</a>" * 3000,
    "an endless include": "<xacro:include filename='/dev/zero'/>",
    "an endless table": "<link name='${xacro.load_yaml(&quot;/dev/zero&quot;)}'/>",
    "files of many folders": "<xacro:include filename='/*/*/*/*/*/*/*.xacro'/>",
    "itself": "<xacro:include filename='robot.xacro'/>",
    "many open tags": "<xacro:arg " * 100_000,
    "many open comments": "<!--" * 500_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_grows_without_end_is_refused_within_a_second(tmp_path, name):
    path = write(tmp_path / "robot.xacro", f"<robot {NAMESPACE}>{BOMBS[name]}</robot>")
    begin = time.process_time()
    with pytest.raises(RobooptError, match="`path`"):
        read_urdf(path)
    assert time.process_time() - begin < 2.0  # with beartype's checks of each call


def test_a_table_whose_parts_repeat_is_refused(tmp_path):
    lines = ["a0: &a0 [1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10)]
    table = write(tmp_path / "table.yaml", "\n".join(lines))
    use = f"<link name='${{xacro.load_yaml(&quot;{table}&quot;)}}'/>"
    path = write(tmp_path / "robot.xacro", f"<robot {NAMESPACE}>{use}</robot>")
    with pytest.raises(RobooptError, match="more than 10000 parts"):
        read_urdf(path)


@pytest.mark.parametrize("form", ["$(eval ${a})", "$(eval 1 + ${a})"])
def test_an_evaluated_substitution_writes_no_file(tmp_path, form):
    # xacro gives these all of Python's builtins.
    mark = tmp_path / "mark"
    call = f"open(&apos;{mark}&apos;, &apos;w&apos;).write(&apos;x&apos;)"
    text = f"<xacro:property name='a' value='{call}'/><link name='{form}'/>"
    path = write(tmp_path / "robot.xacro", f"<robot {NAMESPACE}>{text}</robot>")
    with pytest.raises(RobooptError, match=r"`\$\(eval ...\)` may not be used"):
        read_urdf(path)
    assert not mark.exists()


def test_one_file_changes_no_other(tmp_path):
    poisoned = "<link name='${math.update(pi=3)}'/>"
    path = write(tmp_path / "a.xacro", f"<robot {NAMESPACE}>{poisoned}</robot>")
    with pytest.raises(RobooptError):
        read_urdf(path)
    text = MACRO.replace("${mass}", "${math.pi}").replace(
        "</robot>", "<xacro:arm prefix=''/></robot>"
    )
    write(tmp_path / "common" / "urdf" / "numbers.xacro", NUMBERS)
    path = write(tmp_path / "arm" / "arm.xacro", text)
    assert read_urdf(path).inertials["upper"].mass == pytest.approx(3.14159265)


def test_an_argument_that_the_file_does_not_have_is_named(tmp_path):
    write(tmp_path / "common" / "urdf" / "numbers.xacro", NUMBERS)
    text = MACRO.replace("</robot>", "<xacro:arm prefix='$(arg side)'/></robot>")
    text = text.replace(
        "<xacro:macro", "<xacro:arg name='side' default='l'/><xacro:macro"
    )
    path = write(tmp_path / "arm" / "arm.xacro", text)
    assert read_urdf(path, xacro_args={"side": "r"}).joint_names == ("rlift",)
    with pytest.raises(RobooptError, match="`xacro_args`.*sid.*did you mean side"):
        read_urdf(path, xacro_args={"sid": "r"})
