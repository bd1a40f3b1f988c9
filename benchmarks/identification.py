"""Identification through the twin: how exact, how honest, how fast.

Recordings are made in PyBullet by robots whose masses, joint dampings and payload are
off by up to 30 %; the fits begin at the robots as their URDFs have them.
ExcitationCost: a
random Fourier series in the joints' ranges, or where there is noise the one that
`design_excitation` finds, tracked by the controller of the *wrong* robot. On two cores:

    python benchmarks/identification.py [exact] [noisy] [cart-pole] [speed] [control]
"""

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pybullet
import pybullet_data
from pybullet_utils.bullet_client import BulletClient
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro

STEP = 1 / 240
SECONDS = 10.0
OFF = 0.3
REPETITIONS = 100
FILES = {"iiwa": "kuka_iiwa/model.urdf", "panda": "franka_panda/panda.urdf"}
CUTOFF = 8.0  # Hz
FASTEST = 2.5  # rad/s
PAYLOAD = """<link name="payload"><inertial><origin xyz="0.03 0.02 0.1"/>
<mass value="2.0"/><inertia ixx="0.01" iyy="0.012" izz="0.008" ixy="0" ixz="0" iyz="0"/>
</inertial></link>"""


def main() -> None:
    """Print the tables that are asked for, all of them by default."""
    jax.config.update("jax_enable_x64", True)
    wanted = sys.argv[1:] or ["exact", "noisy", "cart-pole", "speed", "control"]
    for name in wanted:
        {
            "exact": exact,
            "noisy": noisy,
            "cart-pole": cart_pole,
            "speed": speed,
            "control": control,
        }[name]()


class Case:
    """A robot with a payload as it is believed to be, and as it is."""

    def __init__(self, name: str, seed: int = 0, *, designed: bool = False):
        """Change the robot, and let PyBullet's do an excited motion."""
        folder = Path(tempfile.mkdtemp())
        path = with_payload(Path(pybullet_data.getDataPath()) / FILES[name], folder)
        robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
        self.true = changed(robot, np.random.default_rng(seed))
        self.path = path
        self.env = ArmReach(path, model=self.true.merge_fixed(), time_step=STEP)
        self.twin = ro.Twin(
            robot,
            STEP,
            effort_limits=self.env.effort_limits,
            implicit_damping=True,
        )
        moving = [n for n, b in zip(robot.body_names, robot.masses, strict=True) if b]
        self.free = (
            *(f"mass[{name}]" for name in moving),
            *("damping",) * bool(np.any(robot.damping)),
        )
        self.start = ro.dynamics.ParametricTwin(self.twin, self.free)
        self.run = self.record(self.design() if designed else self.random(seed))
        truth = ro.dynamics.ParametricTwin(
            ro.Twin(self.true, STEP, implicit_damping=True), self.free
        )
        self.values = np.asarray(truth.values())

    def random(self, seed: int) -> ro.policies.FourierReference:
        """Return some motion over much of the joints' ranges."""
        return ro.policies.FourierReference.random(
            self.twin.robot, SECONDS, 5, jax.random.key(seed), range_share=0.9
        )

    def design(self) -> ro.policies.FourierReference:
        """Return the motion that tells most of the robot as it is believed to be."""
        return ro.sysid.design_excitation(
            self.start,
            duration=SECONDS / 2,
            effort_limits=self.env.effort_limits,
            velocity_limits=np.full(self.twin.joints, FASTEST),
            time_step=STEP,
            starts=2,
        )

    def record(self, reference: ro.policies.FourierReference) -> ro.Trajectory:
        """Return ten seconds of PyBullet under the wrong robot's controller."""
        controller = ro.policies.TrackingController.from_limits(
            self.twin.robot,
            reference,
            self.env.effort_limits,
            STEP,
            implicit_damping=True,
        )
        world = ArmReach(
            self.path,
            model=self.true.merge_fixed(),
            time_step=STEP,
            duration=SECONDS,
        )
        q, velocity, _ = reference(0.0)
        start = np.concatenate([q, velocity, q])
        made = ro.rollouts.collect(world, controller, starts=start[None])
        n = self.twin.joints
        return ro.Trajectory(made.observations[0, :, : 2 * n], made.actions[0], STEP)


def changed(
    robot: ro.dynamics.Multibody, rng: np.random.Generator
) -> ro.dynamics.Multibody:
    """Return the robot with its masses and joint dampings off."""
    mass = 1 + OFF * rng.uniform(-1, 1, len(robot.masses))
    # Some of the Panda's links are inertia without mass: these stay.
    mass = np.where(np.asarray(robot.masses) > 0, mass, 1.0)
    damping = 1 + OFF * rng.uniform(-1, 1, len(robot.joint_names))
    return eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.damping),
        robot,
        (
            robot.masses * mass,
            robot.inertias * mass[:, None, None],
            robot.damping * damping,
        ),
    )


def with_payload(source: Path, folder: Path) -> Path:
    """Write the robot without shapes, and with two kilograms on its last link."""
    tree = ElementTree.parse(source)
    robot = tree.getroot()
    for link in robot.findall("link"):
        for shape in (*link.findall("visual"), *link.findall("collision")):
            link.remove(shape)
    for joint in robot.findall("joint"):
        for mimic in joint.findall("mimic"):
            joint.remove(mimic)
    parents = {j.find("parent").get("link") for j in robot.findall("joint")}  # type: ignore
    turning = [j for j in robot.findall("joint") if j.get("type") == "revolute"]
    last = turning[-1].find("child").get("link")  # type: ignore
    assert parents
    robot.append(ElementTree.fromstring(PAYLOAD))
    robot.append(
        ElementTree.fromstring(
            f'<joint name="mount" type="fixed"><parent link="{last}"/>'
            '<child link="payload"/></joint>'
        )
    )
    path = folder / source.name
    tree.write(path)
    return path


def exact() -> None:
    """Print the errors of fits to recordings without noise."""
    print("\nNoise-free, 10 s at 240 Hz: largest relative error of a parameter")
    for name in FILES:
        case = Case(name)
        began = time.perf_counter()
        found = ro.identify(
            case.twin, [case.run], free=case.free, prior=None, held_out=0
        )
        seconds = time.perf_counter() - began
        report = found.identifiability
        assert report is not None
        known = np.array([v == "identified" for v in report.verdicts])
        error = np.abs(report.values / case.values - 1)
        print(
            f"{name:8} {error[known].max():.1e} over {known.sum()} identified of "
            f"{known.size}, by {found.error}, {seconds:.1f} s with compilation"
        )
        for i in np.flatnonzero(~known):
            print(f"         {report.names[i]}: {report.sentence(int(i))}")


def noisy() -> None:
    """Print errors and coverage with 5 % effort noise and 1e-4 rad encoder noise."""
    print(f"\n5 % effort and 1e-4 rad encoder noise, {REPETITIONS} repetitions")
    for name in FILES:
        began = time.perf_counter()
        case = Case(name, designed=True)
        print(f"{name}: motion designed in {time.perf_counter() - began:.0f} s")
        errors, covered, verdicts = [], [], []
        v: Any = None
        began = time.perf_counter()
        for seed in range(REPETITIONS):
            run = measured(case.run, seed)
            found = ro.identify(
                case.twin, [run], free=case.free, cutoff=CUTOFF, error="effort",
                prior=None, held_out=0,
            )  # fmt: skip
            v = found.identifiability
            assert v is not None
            errors.append(np.abs(v.values / case.values - 1))
            covered.append((v.lower <= case.values) & (case.values <= v.upper))
            verdicts.append([x == "identified" for x in v.verdicts])
        seconds = (time.perf_counter() - began) / REPETITIONS
        error, inside = np.array(errors), np.array(covered)
        known = np.mean(verdicts, axis=0) > 0.5
        masses = known & np.array([n.startswith("mass") for n in v.names])
        print(
            f"{name:8} mean error of {masses.sum()} identified masses "
            f"{100 * error[:, masses].mean():.2f} %, intervals cover "
            f"{100 * inside[:, known].mean():.1f} % (from "
            f"{100 * inside[:, known].mean(0).min():.0f} to "
            f"{100 * inside[:, known].mean(0).max():.0f} %), {seconds:.1f} s each"
        )
        for i, parameter in enumerate(v.names):
            print(
                f"   {parameter:32} error {100 * error[:, i].mean():8.3f} %  covered "
                f"{100 * inside[:, i].mean():5.1f} %  {v.verdicts[i]}"
            )


def measured(run: ro.Trajectory, seed: int) -> ro.Trajectory:
    """Return what encoders and torque sensors would have said."""
    rng = np.random.default_rng(seed)
    n = run.actions.shape[-1]
    q = np.asarray(run.observations)[:, :n]
    q = q + 1e-4 * rng.normal(size=q.shape)
    efforts = np.asarray(run.actions)
    size = np.sqrt(np.mean(efforts**2, 0))
    efforts = efforts + 0.05 * size * rng.normal(size=efforts.shape)
    # Encoders know no velocities: differences, as every driver makes them.
    velocity = np.diff(q, axis=0, prepend=q[:1]) / STEP
    return ro.Trajectory(np.hstack([q, velocity]), efforts, STEP)


def cart_pole() -> None:
    """Print the errors of a cart-pole's lumped parameters."""
    env = CartPoleBalance(duration=SECONDS)
    twin = ro.Twin.from_env(env)
    rng = np.random.default_rng(1)
    robot = twin.robot
    true = changed(robot, rng)
    env.apply(true)
    start = np.array([0.0, math.pi, 0.0, 0.0])
    made = ro.rollouts.collect(env, Shaken(SECONDS), starts=start[None])
    run = ro.Trajectory(made.observations[0, :, :4], made.actions[0], env.time_step)
    q = np.asarray(run.observations)[:, :2] + 1e-3 * rng.normal(size=(2401, 2))
    efforts = np.asarray(run.actions)
    efforts = efforts + 0.05 * np.sqrt(np.mean(efforts**2)) * rng.normal(
        size=efforts.shape
    )
    velocity = np.diff(q, axis=0, prepend=q[:1]) / env.time_step
    noisy = ro.Trajectory(np.hstack([q, velocity]), efforts, env.time_step)
    free = ("mass", "center_of_mass.z[pole]")
    found = ro.identify(twin, [noisy], free=free, held_out=0)
    # What remains of the noise is that of the states that forecasts begin at: these
    # become unknowns too.
    unknown = np.full(2, np.inf)
    objective = ro.objectives.MultipleShooting(
        240, np.array([1e-3, 1e-3, *unknown]), np.array([1e-4, 1e-4, 1e-3, 1e-3])
    )
    begin = ro.objectives.ShootingVariables.of(
        found.model, noisy, 240, velocities=False
    )
    fitted = ro.least_squares(objective, begin, noisy, tolerance=1e-6).model.dynamics
    print("\nCart-pole, 10 s, noise of 1 mm, 1 mrad and 5 % of the force: lumped")
    for name, now, then, before in zip(
        ("M + m", "m l", "I + m l²"),
        lumped(fitted.robot),
        lumped(true),
        lumped(robot),
        strict=True,
    ):
        print(
            f"   {name:20} {now:.5f}, true {then:.5f}: {100 * abs(now / then - 1):.2f} "
            f"% off (URDF {100 * abs(before / then - 1):.0f} %)"
        )


class Shaken(ro.policies.TimeVaryingPolicy):
    """Pushes a cart with sines, and pulls it gently back to the middle."""

    seconds: float

    def __call__(self, observation, time):
        """Return the force [N]."""
        x, _, speed, _ = observation
        beat = 2 * jnp.pi / self.seconds
        waves = sum(jnp.sin(k * beat * time + k * k) for k in (4, 7, 11, 16))
        return jnp.atleast_1d(2.0 * waves - 4.0 * x - 2.0 * speed)


def lumped(robot: ro.dynamics.Multibody) -> list[float]:
    """Return the numbers that a cart-pole's equations of motion hold."""
    zero = jnp.zeros(2)
    matrix = robot.mass_matrix(zero)
    return [float(matrix[0, 0]), float(abs(matrix[0, 1])), float(matrix[1, 1])]


def speed() -> None:
    """Print the time of a fit against finite differences through PyBullet."""
    from scipy.optimize import least_squares

    case = Case("iiwa")
    names = case.start.names
    free = (*(n for n in names if n.startswith("mass")), *names[-3:])[-10:]
    twin = case.twin
    known = ro.dynamics.ParametricTwin(
        ro.Twin(case.true, STEP, implicit_damping=True), free
    )
    model = ro.dynamics.ParametricTwin(
        ro.Twin(
            eqx.tree_at(_values, case.true, _values(twin.robot)),
            STEP,
            implicit_damping=True,
        ),
        free,
    )
    # What is not fitted is as it is: both sides find the same ten numbers.
    run = case.run
    scale = np.concatenate([np.full(7, np.inf), np.ones(7)])
    objective = ro.PredictionError(horizon=1, scale=scale)
    x0, true = np.asarray(model.coordinates), np.asarray(known.coordinates)
    model = eqx.tree_at(lambda m: m.coordinates, known, jnp.asarray(x0))
    times, result, found = [], None, None
    for _ in range(6):
        began = time.perf_counter()
        result = ro.least_squares(objective, model, run, tolerance=1e-8)
        times.append(time.perf_counter() - began)
    simulated = Bullet(case, known)
    bullet = []
    for _ in range(2):
        began = time.perf_counter()
        found = least_squares(
            lambda x: simulated.residuals(x, run), x0, x_scale="jac", xtol=1e-8,
            ftol=1e-12, gtol=1e-15,
        )  # fmt: skip
        bullet.append(time.perf_counter() - began)
    assert result is not None and found is not None
    warm = float(np.median(times[1:]))
    ours = simulated.residuals(np.asarray(result.model.coordinates), run)
    print("\nTen parameters of the iiwa from 10 s, the same one-step residuals")
    print(
        f"   roboopt: {times[0]:.2f} s cold, {warm:.2f} s warm, {result.steps} steps,"
    )
    print(f"      RMS through PyBullet {np.sqrt(np.mean(ours**2)):.1e}, largest error")
    print(f"      {np.abs(np.asarray(result.model.coordinates) - true).max():.1e}")
    print(f"   SciPy through PyBullet: {min(bullet):.2f} s, {found.nfev} steps,")
    print(f"      RMS {np.sqrt(np.mean(found.fun**2)):.1e}, largest error")
    print(f"      {np.abs(found.x - true).max():.1e}")
    print(f"   ratio: {min(bullet) / warm:.1f} warm, {min(bullet) / times[0]:.1f} cold")


def _values(robot: ro.dynamics.Multibody) -> tuple:
    return robot.masses, robot.inertias, robot.damping


class Bullet:
    """One-step predictions by PyBullet itself, with parameters set in it."""

    def __init__(self, case: Case, model: ro.dynamics.ParametricTwin):
        """Load the case's robot with each of its links."""
        self.client = BulletClient(pybullet.DIRECT)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "robot.urdf"
            ro.dynamics.save_urdf(case.true, case.path, path)
            flags = pybullet.URDF_USE_INERTIA_FROM_FILE
            self.body = self.client.loadURDF(str(path), useFixedBase=True, flags=flags)
        self.client.setGravity(0, 0, -9.81)
        self.client.setTimeStep(STEP)
        still = {"linearDamping": 0, "angularDamping": 0}
        for link in range(-1, self.client.getNumJoints(self.body)):
            self.client.changeDynamics(self.body, link, **still)
        self.model, self.joints = model, list(case.env.joint_indices)
        self.client.setJointMotorControlArray(
            self.body, self.joints, pybullet.VELOCITY_CONTROL, forces=[0.0] * 7
        )
        infos = [self.client.getJointInfo(self.body, i) for i in range(
            self.client.getNumJoints(self.body))]  # fmt: skip
        self.links = {info[12].decode(): info[0] for info in infos}
        self.named = {info[1].decode(): info[0] for info in infos}
        self.moments = {
            name: self.client.getDynamicsInfo(self.body, i)
            for name, i in self.links.items()
        }
        self.mass = {name: dynamics[0] for name, dynamics in self.moments.items()}

    def residuals(self, x: np.ndarray, run: ro.Trajectory) -> np.ndarray:
        """Return the velocities after each step less the recorded ones."""
        client, body = self.client, self.body
        change = client.changeDynamics
        for name, value in zip(self.model.names, x, strict=True):
            quantity, _, where = name.removesuffix("]").partition("[")
            if quantity == "mass":
                kilograms, _, inertia = self.moments[where][:3]
                factor = math.exp(value) / kilograms
                change(
                    body,
                    self.links[where],
                    mass=math.exp(value),
                    localInertiaDiagonal=[factor * i for i in inertia],
                )
            else:
                change(body, self.named[where], jointDamping=value)
        n = len(self.joints)
        observations = np.asarray(run.observations)
        result = np.empty((run.steps, n))
        reset = client.resetJointState
        for k, (state, efforts) in enumerate(
            zip(
                observations[:-1].tolist(),
                np.asarray(run.actions).tolist(),
                strict=True,
            )
        ):
            for i, joint in enumerate(self.joints):
                reset(body, joint, state[i], state[n + i])
            client.setJointMotorControlArray(
                body, self.joints, pybullet.TORQUE_CONTROL, forces=efforts
            )
            client.stepSimulation()
            after = client.getJointStates(body, self.joints)
            result[k] = [s[1] for s in after]
        return (result - observations[1:, n : 2 * n]).ravel()


def control() -> None:
    """Print what gains tuned on the identified model cost on the changed robot."""
    env = ArmReach("two-link")
    twin = ro.Twin.from_env(env)
    robot = twin.robot
    rng = np.random.default_rng(2)
    true = changed(robot, rng)
    env.apply(true)
    reference = ro.policies.FourierReference.random(
        robot, SECONDS, 5, jax.random.key(0)
    )
    tracker = ro.policies.TrackingController.from_limits(
        robot, reference, env.effort_limits, env.time_step, implicit_damping=True
    )
    long = ArmReach("two-link", duration=SECONDS)
    long.apply(true)
    q, velocity, _ = reference(0.0)
    made = ro.rollouts.collect(
        long, tracker, starts=np.concatenate([q, velocity, q])[None]
    )
    clean = ro.Trajectory(made.observations[0, :, :4], made.actions[0], env.time_step)
    run = measured(clean, 0)
    found = ro.identify(twin, [run], free=("mass", "damping"), held_out=0)
    starts = env.sample_starts(16, seed=0)
    judged = env.sample_starts(50, seed=1)
    costs = {}
    for name, believed in {
        "the true robot": true,
        "the identified one": found.model.robot,
        "the URDF's": robot,
    }.items():
        model = ro.Twin(
            believed,
            env.time_step,
            effort_limits=env.effort_limits,
            implicit_damping=True,
        )
        objective = ro.EnergyTaskCost(
            ro.Rollout(model, env.horizon), env.task, env.actuators, work_weight=0.01
        )
        begin = ro.policies.PDGravityCompensation.from_limits(
            believed, env.effort_limits, env.time_step, implicit_damping=True
        )
        tuned = ro.minimize(objective, begin, starts, steps=40).model
        motions = ro.rollouts.collect(env, tuned, starts=judged)
        terms = objective.measure(motions)
        costs[name] = float(sum(t.value * t.weight for t in terms.values()))
    print("\nGains tuned on a model, judged on the changed two-link arm in PyBullet")
    best = costs["the true robot"]
    for name, cost in costs.items():
        print(f"   on {name:20} {cost:.4f} ({100 * (cost / best - 1):+.2f} %)")


if __name__ == "__main__":
    main()
