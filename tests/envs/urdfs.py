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
