"""What the recordings say is judged beside the size of the recorded efforts."""

import numpy as np
import roboopt_envs.arm

import roboopt as ro
from roboopt.diagnose import IdentifiabilityReport
from roboopt.sysid._fitter import bounds_of
from roboopt.sysid._sizes import judged_by_size

URDF = roboopt_envs.arm.__file__.replace("arm.py", "assets/two_link.urdf")


def test_an_offset_about_zero_is_not_called_unexcited():
    # A standard error of a tenth of 3 N·m makes an interval of ± 1.96 · 0.3 = 0.59 N·m.
    twin = ro.Twin(ro.load_urdf(URDF, linear_damping=0.0, angular_damping=0.0), 0.01)
    free = ("effort_offset", "mass[forearm]")
    model = ro.dynamics.ParametricTwin(twin, free)
    names, offsets = model.names, np.array(["offset" in n for n in model.names])
    half = np.where(offsets, [0.5 if "shoulder" in n else 0.7 for n in names], 0.05)
    values = np.asarray(model.values())
    report = IdentifiabilityReport(
        names=names,
        units=model.units,
        values=values,
        lower=values - half,
        upper=values + half,
        verdicts=("not excited",) * len(names),
        partners=((),) * len(names),
        combinations=(),
        singular_values=np.ones(len(names)),
        covariance=np.eye(len(names)),
        model=model,
        trained=(),
    )
    run = ro.Trajectory(np.zeros((5, 4)), np.full((4, 2), 3.0), 0.01)
    judged = judged_by_size(report, model, [run])
    told = dict(zip(names, judged.verdicts, strict=True))
    assert told["effort_offset[shoulder]"] == "identified"
    assert told["effort_offset[elbow]"] == told["mass[forearm]"] == "not excited"


def test_intervals_of_shares_end_at_their_bounds():
    # The friction of a load is a share of at most 2 of it.
    robot = ro.load_urdf(URDF, linear_damping=0.0, angular_damping=0.0)
    twin = ro.Twin(ro.dynamics.with_friction(robot, load=[1.9, 0.01]), 0.01)
    model = ro.dynamics.ParametricTwin(twin, ("load_friction", "friction"))
    rng = np.random.default_rng(0)
    states = rng.normal(size=(60, 4))
    actions = rng.normal(size=(59, 2))
    run = ro.Trajectory(states, actions, 0.01)
    report = ro.diagnose.identifiability(
        ro.objectives.InverseDynamicsError.for_data(model, run),
        model,
        run,
        bounds=bounds_of(model),
    )
    shares = np.array(["load" in name for name in report.names])
    assert np.isfinite(report.upper[shares]).all()
    assert (report.upper[shares] < 2).all() and (report.lower[shares] >= 0).all()
