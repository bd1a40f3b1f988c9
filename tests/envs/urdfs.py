"""URDFs as their users write them, with one thing or another wrong."""

INERTIA = '<inertia ixx="0.01" ixy="0" ixz="0" iyy="0.02" iyz="0" izz="0.025"/>'
INERTIAL = f'<inertial><origin xyz="0.3 0 0"/><mass value="1"/>{INERTIA}</inertial>'
LIMIT = '<limit lower="-1" upper="1" effort="20"/>'


def one_joint(
    *,
    inertial: str = INERTIAL,
    axis: str = '<axis xyz="0 1 0"/>',
    limit: str = LIMIT,
    kind: str = "revolute",
    more: str = "",
    elements: str = "",
) -> str:
    """Return a link `arm` on a joint `hinge`, with `more` in the joint."""
    return f"""<robot name="one_joint">
    <link name="base">{INERTIAL}</link>
    <link name="arm">{inertial}</link>
    <joint name="hinge" type="{kind}">
      <parent link="base"/><child link="arm"/>{axis}{limit}{more}
    </joint>
    {elements}
    </robot>"""


def gantry() -> str:
    """Return a slide with a turret of skew frames, and a probe of no mass."""
    return f"""<robot name="gantry">
    <link name="base">{INERTIAL}</link>
    <link name="slide">{INERTIAL}</link>
    <link name="turret">
      <inertial>
        <origin xyz="0.1 0.02 -0.03" rpy="0.3 -0.2 0.5"/><mass value="0.7"/>
        <inertia ixx="0.01" ixy="0.002" ixz="-0.001" iyy="0.012" iyz="0.0015"
                 izz="0.009"/>
      </inertial>
      <visual><geometry><box size="0.4 0.3 0.2"/></geometry></visual>
    </link>
    <link name="probe">
      <inertial>
        <mass value="0"/>
        <inertia ixx="0" ixy="0" ixz="0" iyy="0" iyz="0" izz="0"/>
      </inertial>
    </link>
    <joint name="rail" type="prismatic">
      <origin xyz="0.1 0.2 0.3" rpy="0.4 0.1 -0.7"/>
      <parent link="base"/><child link="slide"/><axis xyz="0.6 0 0.8"/>
      <limit lower="-0.5" upper="0.4" effort="60"/><dynamics damping="3"/>
    </joint>
    <joint name="turn" type="continuous">
      <origin xyz="0 0.1 0.2" rpy="-0.5 0.2 1.1"/>
      <parent link="slide"/><child link="turret"/><axis xyz="0 0.8 -0.6"/>
      <limit effort="6"/><dynamics damping="0.02"/>
    </joint>
    <joint name="grip" type="fixed">
      <origin xyz="0.3 -0.1 0.05" rpy="0.2 0.3 0.4"/>
      <parent link="turret"/><child link="probe"/>
    </joint>
    </robot>"""


def gripper_arm() -> str:
    """Return an arm of two joints with a gripper, whose right finger follows."""

    def finger(name: str, side: int) -> str:
        mimic = '<mimic joint="left" multiplier="-1"/>' if name == "right" else ""
        low, high = sorted((0.01 * side, 0.06 * side))
        inertia = "".join(f'i{k}{k}="2e-5" ' for k in "xyz")
        return f"""
        <link name="{name}_finger"><inertial><origin xyz="0.02 0 0"/>
          <mass value="0.02"/><inertia {inertia}/></inertial></link>
        <joint name="{name}" type="prismatic">
          <origin xyz="0.05 0 0"/><parent link="hand"/><child link="{name}_finger"/>
          <axis xyz="0 1 0"/><limit lower="{low}" upper="{high}" effort="5"/>
          <dynamics damping="5" friction="0.5"/>{mimic}
        </joint>"""

    return f"""<robot name="gripper_arm">
    <link name="base"/>
    <link name="arm">{INERTIAL}</link>
    <link name="hand"><inertial><mass value="0.2"/>
      <inertia ixx="1e-4" iyy="2e-4" izz="2e-4"/></inertial></link>
    <joint name="lift" type="revolute">
      <parent link="base"/><child link="arm"/><axis xyz="0 1 0"/>
      <limit lower="-2" upper="2" effort="20"/>
      <dynamics damping="0.5" friction="0.2"/>
    </joint>
    <joint name="roll" type="continuous">
      <origin xyz="0.6 0 0"/><parent link="arm"/><child link="hand"/>
      <axis xyz="1 0 0"/><limit effort="2"/><dynamics damping="0.1" friction="0.1"/>
    </joint>
    {finger("left", 1)}{finger("right", -1)}
    </robot>"""
