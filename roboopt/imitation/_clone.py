"""`clone`: from demonstrations to a policy that is judged by doing the task.

Behavior cloning minimizes the mismatch between the policy's actions and demonstrated
ones (Pomerleau, 1989). A small mismatch does not prove that the policy does the task,
since its own errors take it where nobody has been (Ross et al., 2011); so the clone
acts in the environment, from the same random starts as its demonstrator.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from roboopt._errors import RobooptError, require_at_least
from roboopt._interrupt import ending
from roboopt.data import Trajectory
from roboopt.imitation._clone_result import INTERRUPTED, CloneResult
from roboopt.imitation._clone_training import Training
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.policies import within_limits
from roboopt.report import progress_bar
from roboopt.rollouts import (
    EVALUATION_SEED_OFFSET,
    MAX_EPISODE_STEPS,
    EnvError,
    EnvSpec,
    Evaluation,
    Ray,
    env_maker,
    evaluate,
    is_env,
    require_an_end,
    signals,
    time_limit,
)


def clone(
    demonstrations: Any,
    env: Any = None,
    *,
    policy: Any = None,
    loss: Any = "l2",
    history: int = 1,
    chunk: int | None = None,
    angles: Sequence[int] = (),
    width: int = 64,
    depth: int = 2,
    steps: int = 10_000,
    batch_size: int = 256,
    seconds: float = math.inf,
    demonstrator: Any = None,
    dagger: int = 0,
    held_out: Any = None,
    seed: int = 0,
    episodes: int = 100,
    max_steps: int | None = None,
    time_step: float | None = None,
    observation_keys: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    processes: int = 0,
    workers: Ray | None = None,
    progress: bool = False,
    checkpoint: str | PathLike | None = None,
) -> CloneResult:
    """Clone behavior from demonstrations, and let the clone do the task.

    Args:
        demonstrations: trajectories; arrays (observations, actions) of one episode, or
            a dict with these; or whatever `data.load_episodes` reads.
        env: Gymnasium id, environment, or function that makes one; without it the clone
            is trained but does not act.
        policy: "mlp", "gaussian", "tanh-gaussian", "gmm" or "flow" (for demonstrations
            that disagree with each other), or "categorical" (for discrete actions); or
            a policy of your own to train. If None, "categorical" or "mlp".
        loss: of "mlp": "l2", "huber", "l1", or any function of the error.
        history: observations that the policy sees.
        chunk: actions predicted at once, executed by temporal ensembling; one if None.
        angles: axes of the observation that are angles without limits.
        width: hidden-layer width.
        depth: hidden layers.
        steps: gradient steps.
        batch_size: samples per step.
        seconds: time limit of the training, compilation included [s].
        demonstrator: policy that demonstrated, to compare with and for `dagger`.
        dagger: DAgger rounds, in which the clone acts and the demonstrator labels.
        held_out: fraction of the episodes that is held out, of a single episode the
            fraction of its steps at its end; or demonstrations that are held out. If
            None, the episodes that the mask `valid` of a robomimic file names, or else
            a tenth.
        seed: random seed of weights, batches and starts.
        episodes: episodes of the evaluation.
        max_steps: episode length limit, where the environment has none.
        time_step: [s], where the demonstrations do not state theirs.
        observation_keys: as in `data.load_episodes`.
        options: keyword arguments of the environment's constructor, if `env` is an id.
        processes: worker processes of the evaluation; 0 runs it in this process.
        workers: a cluster for the evaluation, `rollouts.Ray()`, in their place.
        progress: whether to show progress bars.
        checkpoint: file for the state of the training, written every ten seconds and at
            the end. If the file exists, the training continues from it, to the same
            policy as without the interruption, and for more `steps` if they are more
            now. The curve of the held-out mismatch is sampled by time, and so never
            quite the same. A file of another training is refused.

    Returns:
        The clone with its evaluation, also after Ctrl-C: the best policy so far.

    Raises:
        RobooptError: if an argument breaks its rule, or demonstrations, policy and
            environment do not fit each other, nothing ends an episode, or `checkpoint`
            is a file of another training.
        EnvError: if the environment fails before the training.
    """
    require_at_least(1, history=history, chunk=chunk, width=width, depth=depth)
    require_at_least(1, steps=steps, batch_size=batch_size)
    require_at_least(1, episodes=episodes, max_steps=max_steps)
    require_at_least(0, seed=seed, dagger=dagger, processes=processes)
    if isinstance(held_out, int | float) and not 0 < held_out < 1:
        raise RobooptError(f"`held_out` must be between 0 and 1, got {held_out}.")
    for name, value in (("demonstrator", demonstrator), ("env", env)):
        if dagger and value is None:
            raise RobooptError(
                "`dagger` asks the demonstrator where the clone acts: it needs "
                f"`{name}`, got None."
            )
    with _made(env, options) as (spec, source, world):
        if (processes or workers is not None) and is_env(source):
            source, _ = env_maker(source)
        if world is not None and max_steps is None and time_limit(world) is None:
            # Before anything is learned: an endless evaluation would lose it.
            require_an_end(source, seed=seed, processes=processes)
            max_steps = MAX_EPISODE_STEPS
        data = DemonstrationSet.load(
            demonstrations,
            world,
            held_out=held_out,
            seed=seed,
            time_step=time_step,
            observation_keys=observation_keys,
        )
        training = Training.of(
            data,
            world,
            policy,
            loss,
            history=history,
            chunk=chunk,
            batch_size=batch_size,
            seed=seed,
            angles=angles,
            width=width,
            depth=depth,
        )
        if dagger:
            training = training.with_dagger(
                world,
                demonstrator,
                data,
                rounds=dagger,
                steps=steps,
                max_steps=max_steps,
            )
        result, curve, mismatch = training.run(
            steps, seconds=seconds, progress=progress, checkpoint=checkpoint
        )
        space = None if world is None else world.action_space
        acting = within_limits(training.acting(result.model), space)
        actors = {} if demonstrator is None else {"demonstrator": demonstrator}
        evaluations, failure = {}, ""
        try:
            if ending():
                raise KeyboardInterrupt  # of the training: the command is to end
            evaluations = _evaluations(
                source,
                {} if world is None else {**actors, "clone": acting},
                progress,
                episodes=episodes,
                seed=seed + EVALUATION_SEED_OFFSET,
                max_steps=max_steps,
                processes=processes,
                workers=workers,
            )
        except KeyboardInterrupt:
            failure = INTERRUPTED
        except EnvError as error:  # What was trained is not lost by it.
            failure = str(error)
        by_action, over_time = training.errors(result.model, data.held_out)
        recorded = None
        if demonstrator is None and all(e.rewards is not None for e in data.whole):
            recorded = Evaluation.of(Trajectory.from_episodes(data.whole))
        return CloneResult(
            policy=acting,
            demonstrator=demonstrator,
            training=result,
            mismatch=mismatch,
            held_out=curve,
            evaluations=evaluations,
            evaluation_failure=failure,
            demonstrations=recorded,
            error_by_action=by_action,
            error_over_time=over_time,
            discrete=training.discrete,
            findings=tuple(data.findings),
            description=training.description,
            signals=None if world is None else signals(world),
            env=spec,
            seed=seed,
            explained={} if ending() else training.explained(result.model),
        )


def _evaluations(
    env: Any, actors: Mapping[str, Any], progress: bool, *, episodes: int, **how: Any
) -> dict[str, Evaluation]:
    """Let the policies do the task, each from the same starts."""
    found = {}
    for name, actor in actors.items():
        with progress_bar(f"testing the {name}", episodes, progress) as advance:
            found[name] = evaluate(
                env, actor, episodes=episodes, progress=lambda _: advance(), **how
            )
    return found


@contextlib.contextmanager
def _made(env: Any, options: Mapping[str, Any] | None) -> Iterator[Any]:
    """Yield the spec of the environment, how to run it, and itself, each or None."""
    if options and (env is None or is_env(env)):
        raise RobooptError(
            f"`options` are for an `env` that is a Gymnasium id, got {env!r}."
        )
    if env is None:
        yield None, None, None
    elif is_env(env):
        spec = EnvSpec.of(env)
        yield spec, spec or env, env
    else:
        make, spec = env_maker(env, options)
        try:
            made = make()
        except RobooptError:  # names its argument
            raise
        except Exception as error:  # A user's constructor may raise anything.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RobooptError(f"`env` {env} cannot be made: {reason}") from error
        with contextlib.closing(made):
            yield spec, spec or make, made
