"""`roboopt clone`: from demonstrations to a policy that is judged by doing the task."""

import math
from dataclasses import dataclass
from typing import Annotated

import tyro

from roboopt.cli._environment import keywords_of, label
from roboopt.cli._flags import OUTPUT, Output, flag, verb_arguments
from roboopt.cli._usage import require_choice

KINDS = ("mlp", "gaussian", "tanh-gaussian", "gmm", "flow", "categorical")
LOSSES = ("l2", "huber", "l1")


@dataclass(frozen=True)
class Clone:
    """Clone behavior from demonstrations, and evaluate the policy.

    The demonstrations are checked, some episodes are held out, and a policy descends
    on the mismatch of its actions. Then it acts: success and return over random starts
    with 95 % intervals, beside the demonstrator's where --demonstrator is given. The
    folder runs/<name> holds report.html, policy.npz, history.csv, settings.json and
    episodes.npz. Ctrl-C keeps the best policy so far and goes on to the report; a
    second one ends the command.
    """

    demonstrations: Annotated[
        str,
        tyro.conf.Positional,
        flag("DEMOS", "File (.npz, .hdf5), folder, or minari:<dataset>."),
    ]
    env: Annotated[
        str | None,
        flag("ENV", "Gymnasium id, such as CartPole-v1 or my_package:Mine-v0.", "none"),
    ] = None
    option: Annotated[
        tuple[str, ...],
        flag("KEY=VALUE", "Keywords of its constructor: robot=panda.", "none"),
    ] = ()
    policy: Annotated[
        str | None,
        flag(
            "{" + ",".join(KINDS) + "}",
            "Kind of policy; gmm or flow if multimodal.",
            "mlp, categorical",
        ),
    ] = None
    loss: Annotated[str, flag("{l2,huber,l1}", "Loss of an mlp's action errors.")] = (
        "l2"
    )
    history: Annotated[int, flag("INT", "Observations that the policy sees.")] = 1
    chunk: Annotated[
        int | None, flag("INT", "Actions predicted at once.", "one action")
    ] = None
    angles: Annotated[
        tuple[int, ...], flag("INT", "Axes of observations that are angles.", "env's")
    ] = ()
    width: Annotated[int, flag("INT", "Neurons of a hidden layer.")] = 64
    depth: Annotated[int, flag("INT", "Hidden layers.")] = 2
    steps: Annotated[int, flag("INT", "Gradient steps.")] = 10_000
    batch_size: Annotated[int, flag("INT", "Samples of a gradient step.")] = 256
    seconds: Annotated[
        float, flag("FLOAT", "Longest training, compilation included [s].", "no limit")
    ] = math.inf
    demonstrator: Annotated[
        str | None,
        flag("PATH|MODULE:NAME", "Policy to compare with and to ask.", "none"),
    ] = None
    dagger: Annotated[int, flag("INT", "DAgger rounds.")] = 0
    held_out: Annotated[float, flag("FLOAT", "Share of episodes held out.")] = 0.1
    seed: Annotated[int, flag("INT", "Seed of weights, batches and starts.")] = 0
    episodes: Annotated[int, flag("INT", "Episodes of the evaluation.")] = 100
    max_steps: Annotated[
        int | None, flag("INT", "Time limit of an episode [steps].", "environment's")
    ] = None
    time_step: Annotated[
        float | None, flag("FLOAT", "Time between samples [s].", "as recorded")
    ] = None
    processes: Annotated[int, flag("INT", "Worker processes of the evaluation.")] = 0
    output: Annotated[Output, OUTPUT] = Output()

    def run(self) -> int:
        """Train, evaluate, save and report; return the exit code."""
        from roboopt import imitation
        from roboopt.cli._demonstrators import demonstrator
        from roboopt.cli._environment import make
        from roboopt.cli._run import run
        from roboopt.rollouts import EnvSpec

        if self.policy is not None:
            require_choice("--policy", self.policy, KINDS)
        require_choice("--loss", self.loss, LOSSES)
        arguments = verb_arguments(self)
        options = keywords_of(arguments.pop("option"))
        world, name = None, "clone"
        if self.env is not None:
            world = make(self.env, self.option)
            name = f"{label(self.env, self.option)}-clone"
            arguments["env"] = EnvSpec.of(self.env, **options)
        if self.demonstrator is not None:
            arguments["demonstrator"], _ = demonstrator(world, self.demonstrator)
        if world is not None:
            world.close()
        return run(self, name, lambda _: imitation.clone(**arguments, progress=True))
