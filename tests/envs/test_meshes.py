"""Mesh files that are broken, hidden or missing, and shapes without valid sizes."""

import struct
import warnings

import numpy as np
import pybullet
import pytest
from roboopt_envs.arm import ArmReach

from roboopt.urdf import find_meshes, read_urdf, shown_shapes
from roboopt.view import Scene

from .urdfs import INERTIAL, one_joint

TRIANGLE = struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)
STL = bytes(80) + struct.pack("<I", 1) + TRIANGLE
OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2//2 -1\n"
SOURCE = (
    "<source id='s'><float_array id='f' count='9'>0 0 0 1 0 0 0 1 0</float_array>"
    "<technique_common><accessor source='#f' count='3' stride='3'>"
    "<param name='X' type='float'/><param name='Y' type='float'/>"
    "<param name='Z' type='float'/></accessor></technique_common></source>"
    "<vertices id='w'><input semantic='POSITION' source='#s'/></vertices>"
)
DAE = f"""<COLLADA><asset><unit meter='1'/><up_axis>Z_UP</up_axis></asset>
<library_geometries><geometry id='a'><mesh>{SOURCE}<triangles count='1'>
<input semantic='VERTEX' source='#w' offset='0'/><p>0 1 2</p></triangles></mesh>
</geometry></library_geometries><library_visual_scenes><visual_scene id='v'><node>
<instance_geometry url='#a'/></node></visual_scene></library_visual_scenes><scene>
<instance_visual_scene url='#v'/></scene></COLLADA>""".encode()
TEXT_STL = b"""solid one triangle
facet normal 0 0 1\n outer loop\n  vertex 0 0 0\n  vertex 1e0 0 0\n  vertex 0 1 0
 endloop\nendfacet\nendsolid\n"""
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n"
BROKEN = {
    "words in an .obj": ("a.obj", b"garbage\nf 1 2 3\n"),
    "a vertex that is not there": ("a.obj", OBJ + b"f 1 2 100000000\n"),
    "an .obj without faces": ("a.obj", b"v 0 0 0\n"),
    "a page instead of a .dae": ("a.dae", b"<html/>"),
    "a .dae without geometry": ("a.dae", b"<COLLADA><asset/></COLLADA>"),
    "a .dae with an empty mesh": (
        "a.dae",
        DAE.replace(b"</geometry>", b"</geometry><geometry/>"),
    ),
    "an empty .stl": ("a.stl", b""),
    "text in an .stl": ("a.stl", b"solid x\nendsolid x\n"),
    "half an .stl": ("a.stl", STL[:-9]),
    "a pointer of Git LFS": ("a.stl", LFS),
    "another format": ("a.ply", b"ply"),
}


def with_shape(geometry, tag="visual"):
    """Return a robot of one joint whose arm has a shape."""
    shape = f"<{tag}><geometry>{geometry}</geometry></{tag}>"
    text = one_joint()
    return text.replace("<link name='arm'>", f"<link name='arm'>{shape}").replace(
        '<link name="arm">', f'<link name="arm">{shape}'
    )


def mesh(name):
    return with_shape(f'<mesh filename="{name}"/>')


@pytest.mark.parametrize("name, data", BROKEN.values(), ids=BROKEN)
def test_capsules_stand_in_for_a_broken_mesh(name, data, tmp_path, write):
    (tmp_path / name).write_bytes(data)
    path = write(mesh(name))
    with pytest.warns(UserWarning, match=rf"1 mesh.* cannot be used \(.*{name}\)") as w:
        ArmReach(path).close()
    assert "`packages`" not in str(w[0].message)


SIZED = {
    "png": lambda n: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + 2 * n.to_bytes(4, "big"),
    "jpg": lambda n: b"\xff\xd8\xff\xc0\0\x11\x08" + 2 * n.to_bytes(2, "big"),
    "gif": lambda n: b"GIF89a" + 2 * n.to_bytes(2, "little"),
    "tga": lambda n: bytes(12) + 2 * n.to_bytes(2, "little"),
}
"""Headers of images of n × n pixels."""


@pytest.mark.parametrize("kind", SIZED)
def test_an_image_claims_no_more_than_memory_holds(kind, tmp_path, write):
    (tmp_path / "a.obj").write_bytes(b"mtllib a.mtl\nusemtl m\n" + OBJ)
    (tmp_path / "a.mtl").write_text(f"newmtl m\n  map_Kd -clamp on a.{kind}\n")
    image = tmp_path / f"a.{kind}"
    image.write_bytes(SIZED[kind](8192) + bytes(99))
    path = write(mesh("a.obj"))
    ArmReach(path).close()  # Any warning is an error here.
    image.write_bytes(SIZED[kind](20_000) + bytes(99))
    with pytest.warns(UserWarning, match=r"cannot be used \(.*more pixels"):
        ArmReach(path).close()


@pytest.mark.parametrize("data", [TEXT_STL, STL + b"\0\0"], ids=["text", "more"])
def test_an_stl_of_another_kind_is_written_for_pybullet(data, tmp_path, write):
    (tmp_path / "a.STL").write_bytes(data)
    text = with_shape('<mesh filename="a.STL"/>', "collision")
    env = ArmReach(write(text))  # Any warning is an error here.
    low, high = env.physics_client.getAABB(env.body, 0)
    size = np.subtract(high, low)  # Bullet keeps a margin of some millimeters.
    np.testing.assert_allclose(size, [1, 1, 0], atol=0.05)
    env.close()


@pytest.mark.parametrize(
    "name, data", {"a.stl": STL, "a.obj": OBJ, "a.dae": DAE}.items()
)
def test_a_whole_mesh_is_taken(name, data, tmp_path, write):
    (tmp_path / name).write_bytes(data)
    env = ArmReach(write(mesh(name)))  # Any warning is an error here.
    shapes = env.physics_client.getVisualShapeData(env.body)
    assert shapes[0][4].decode().endswith(name)
    env.close()


@pytest.mark.parametrize(
    "name",
    [
        "meshes/up%20per.stl",
        "file://{folder}/meshes/up%20per.stl",
        r"meshes\up per.stl",
        "Meshes/Up Per.STL",
        "package://{package}/meshes/up per.stl",
    ],
)
def test_names_of_other_systems_lead_to_the_file(name, tmp_path, write):
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "up per.stl").write_bytes(STL)
    name = name.format(folder=tmp_path, package=tmp_path.name)
    ArmReach(write(mesh(name))).close()  # Any warning is an error here.


def test_a_package_is_asked_for_where_it_is_missing(write):
    with pytest.warns(UserWarning, match=r"not found.*\['nowhere'\].*`packages`"):
        ArmReach(write(mesh("package://nowhere/a.stl"))).close()
    with pytest.warns(UserWarning, match="a <mesh> without `filename`"):
        ArmReach(write(with_shape("<mesh/>"))).close()


SIZES = {
    "a decimal comma": '<sphere radius="0,1"/>',
    "too few sizes": '<box size="1 1"/>',
    "a negative size": '<box size="1 1 -1"/>',
    "no size": '<cylinder radius="1"/>',
    "a scale with commas": '<mesh filename="a.stl" scale="1,0 1,0 1,0"/>',
}


@pytest.mark.parametrize("tag", ["visual", "collision"])
@pytest.mark.parametrize("geometry", SIZES.values(), ids=SIZES)
def test_capsules_stand_in_for_shapes_without_sizes(geometry, tag, tmp_path, write):
    (tmp_path / "a.stl").write_bytes(STL)
    with pytest.warns(UserWarning, match="1 mesh.*(size|radius|length|scale)"):
        ArmReach(write(with_shape(geometry, tag))).close()


def test_a_mirrored_mesh_is_taken(tmp_path, write):
    (tmp_path / "a.stl").write_bytes(STL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geometry = '<mesh filename="a.stl" scale="0.001 -0.001 0.001"/>'
        ArmReach(write(with_shape(geometry))).close()


def test_a_rod_without_a_shape_is_shown_up_to_its_bob(write):
    ball = "<visual><geometry><sphere radius='0.03'/></geometry></visual>"
    elements = (
        f"<link name='bob'>{INERTIAL}{ball}</link><link name='frame'/>"
        "<joint name='f' type='fixed'><parent link='arm'/><child link='bob'/>"
        "<origin xyz='0 0 0.6'/></joint>"
        "<joint name='g' type='fixed'><parent link='arm'/><child link='frame'/>"
        "<origin xyz='0.5 0 0'/></joint>"
    )
    env = ArmReach(write(one_joint(elements=elements)))
    shapes = env.physics_client.getVisualShapeData(env.body)
    rods = [shape for shape in shapes if shape[2] == pybullet.GEOM_CAPSULE]
    ((_, link, _, size, _, center, *_),) = rods
    assert env.physics_client.getJointInfo(env.body, link)[12] == b"arm"
    assert size[0] == pytest.approx(0.6)
    assert center == pytest.approx((0, 0, 0.3))
    env.close()


BOX = "<collision><geometry><box size='0.1 0.2 0.3'/></geometry></collision>"


@pytest.mark.parametrize("collision", ["", BOX], ids=["rod", "collision"])
def test_a_link_at_the_end_without_a_visual_is_shown(collision, write):
    ball = "<visual><geometry><sphere radius='0.03'/></geometry></visual>"
    path = write(
        f"<robot name='r'><link name='base'>{ball}</link>"
        f"<link name='arm'>{INERTIAL}{collision}</link><joint name='j' type='revolute'>"
        "<parent link='base'/><child link='arm'/><axis xyz='0 1 0'/>"
        "<limit lower='-1' upper='1' effort='90'/></joint></robot>"
    )
    model = read_urdf(path)
    base, arm = shown_shapes(model, find_meshes(model, path.parent))
    assert not base.stand_in and arm.stand_in and arm.link == "arm"
    if collision:
        assert arm.kind == "box" and arm.sizes == (0.1, 0.2, 0.3)
    else:
        assert arm.kind == "capsule" and arm.sizes[1] == pytest.approx(0.3)
        assert arm.offset == pytest.approx((0.15, 0, 0))
    assert Scene.of_urdf(path).faults[0].endswith("center of mass: arm.")
