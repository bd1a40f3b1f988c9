"""`clone`: from demonstrations to a policy that is judged by doing the task.

Behavior cloning minimizes the mismatch between the policy's actions and demonstrated
ones (Pomerleau, 1989). A small mismatch does not prove that the policy does the task,
since its own errors take it where nobody has been (Ross et al., 2011); so the clone
acts in the environment, from the same random starts as its demonstrator.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

from roboopt._errors import RobooptError, is_number, require, require_at_least
from roboopt._interrupt import ending, shielded
from roboopt._keywords import known_keywords
from roboopt._programs import make_room
from roboopt._progress import say
from roboopt.data import Trajectory
from roboopt.imitation._clone_result import CloneResult
from roboopt.imitation._clone_training import BATCH_SIZE, Training
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.imitation._past_choice import trained
from roboopt.optimize import Log, Result
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
    open_environments,
    require_an_end,
    signals,
    time_limit,
)
from roboopt.view import WATCHED, Watch, env_scene, scene_or_none

MAX_TRAINING_EPISODES = 50  # whose errors are told beside those held out
CHOICE_EPISODES = 20  # by which policies that predict well are told apart
MAX_WEIGHTS = 10**8  # of hidden layers, which take 3 GB with what Adam keeps


@known_keywords()
def clone(
    demonstrations: Any,
    env: Any = None,
    *,
    policy: Any = None,
    loss: Any = "l2",
    history: int = 1,
    past_actions: int | None = None,
    relative: Sequence[int] = (),
    quantiles: bool = False,
    chunk: int | None = None,
    angles: Sequence[int] = (),
    width: int = 64,
    depth: int = 2,
    steps: int = 10_000,
    batch_size: int = BATCH_SIZE,
    seconds: float = math.inf,
    demonstrator: Any = None,
    dagger: int = 0,
    weight_decay: float = 0.0,
    dropout: float = 0.0,
    clip: bool = False,
    validation: Any = None,
    patience: int | None = None,
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
    log: Log | None = None,
    watch: Watch | None = None,
    checkpoint: str | PathLike | None = None,
    keep: Callable[[CloneResult], object] | None = None,
) -> CloneResult:
    """Clone behavior from demonstrations, and let the clone do the task.

    Args:
        demonstrations: trajectories; arrays (observations, actions) of one episode; or
            whatever `data.load_episodes` reads, such as a dict; or a list of these.
        env: Gymnasium id, environment, or function that makes one; without it the clone
            is trained but does not act.
        policy: "mlp", "linear", "stable" (for motions to one goal, which it reaches
            from everywhere), "gaussian", "tanh-gaussian", "gmm" or "flow" (for
            demonstrations that disagree with each other), or "categorical" (for
            discrete actions); or a policy of your own to train. If None, "categorical"
            or "mlp", in whose place comes "linear" where no network is better by two
            standard errors on demonstrations that neither has seen, or a mean of both.
        loss: of "mlp", "linear" and "stable": "l2", "huber", "l1", or any function of
            the error.
        history: observations that the policy sees.
        past_actions: of its own last actions, how many the policy sees. If None, three
            where `policy` is None and without them it predicts hardly better than
            repeating the last action does, by the validation error, and in `env` does
            the task worse; else none.
        relative: the axis of the observation that each axis of an action is relative
            to, such as the positions of the joints for desired positions.
        quantiles: whether the 1 % and 99 % quantiles normalize the network's inputs and
            outputs, and not the mean and the standard deviation; a linear policy stays.
        chunk: actions predicted at once, executed by temporal ensembling; one if None.
        angles: axes of the observation that are angles without limits.
        width: hidden-layer width.
        depth: hidden layers.
        steps: gradient steps.
        batch_size: samples per step.
        seconds: time limit of the training, compilation included [s].
        demonstrator: policy that demonstrated, to compare with and for `dagger`.
        dagger: DAgger rounds, in which the clone acts and the demonstrator labels.
        weight_decay: of the network's weights, as in `optimize.adam`.
        dropout: share of the neurons of hidden layers that are off in a step.
        clip: whether demonstrated actions beyond the limits of the environment are
            meant; if not, they are clipped all the same, with a warning. A clipped
            action counts as the limit or more.
        validation: fraction of the episodes not held out that selects the policy: the
            one with the least loss on them, on the way, is kept. Of a single
            episode it is a fraction of its steps at its end; 0 keeps the best on all
            of them; or demonstrations. If None, a fifth; all of up to 30, by
            cross-validation in five parts, where `policy` is None and `dropout` 0; 0
            with `dagger`, whose best clone is not the best on demonstrations.
        patience: steps without a lower validation loss after which the training
            ends; if None, a quarter of `steps`.
        held_out: fraction of the episodes that is held out, of a single episode the
            fraction of its steps at its end; or demonstrations that are held out. If
            None, the episodes that the mask `valid` of a robomimic file names, or else
            a tenth, but up to five of fewer than 50: at most a quarter of them.
        seed: random seed of weights, batches and starts.
        episodes: episodes of the evaluation.
        max_steps: episode length limit, where the environment has none.
        time_step: [s]; if None, the demonstrations', else that of `env`, else 1 s.
        observation_keys: as in `data.load_episodes`.
        options: keyword arguments of the environment's constructor, if `env` is an id.
        processes: worker processes of the evaluation; 0 runs it in this process.
        workers: a cluster for the evaluation, `rollouts.Ray()`, in their place.
        progress: whether to show progress bars.
        log: `log(step, metrics)`, told the numbers of every step by name, as in
            `minimize`; such as `ro.loggers.TensorBoard`.
        watch: shows a robot in the browser as the clone learns: `ro.view.Watch()`.
        checkpoint: file for the state of the training, written every ten seconds and at
            the end. If the file exists, the training continues from it, to the same
            policy as without the interruption, and for more `steps` if they are more
            now. A file of another training is refused.
        keep: called with the clone before it is judged, such as to save it.

    Returns:
        The clone with its evaluation, also after Ctrl-C: the best policy so far. Where
        no `env` limits an action, its `policy` keeps the demonstrated range and three
        times as much on each side, unless it is "stable" or your own; `policy.policy`
        is the policy without these limits.

    Raises:
        RobooptError: if an argument breaks its rule, or demonstrations, policy and
            environment do not fit each other, nothing ends an episode, or `checkpoint`
            is a file of another training.
        EnvError: if the environment fails before the training.
    """
    make_room()
    require_at_least(1, history=history, chunk=chunk, width=width, depth=depth)
    require_at_least(1, steps=steps, batch_size=batch_size, patience=patience)
    rule = f"give a network of at most {MAX_WEIGHTS:g} weights"
    valid = width * (width * max(depth - 1, 0) + 1) <= MAX_WEIGHTS
    require(valid, "width", rule, width)
    require_at_least(1, episodes=episodes, max_steps=max_steps)
    require_at_least(0, seed=seed, dagger=dagger, processes=processes)
    require_at_least(0, past_actions=past_actions)
    require(is_number(seconds) and seconds > 0, "seconds", "be positive", seconds)
    valid = is_number(weight_decay) and 0 <= weight_decay < math.inf
    require(valid, "weight_decay", "be finite and not negative", weight_decay)
    if isinstance(held_out, int | float) and not 0 < held_out < 1:
        raise RobooptError(f"`held_out` must be between 0 and 1, got {held_out}.")
    rule = "be at least 0 and below 1"
    require(is_number(dropout) and 0 <= dropout < 1, "dropout", rule, dropout)
    valid = not isinstance(validation, int | float) or 0 <= validation < 1
    require(valid, "validation", rule, validation)
    valid = not (dagger and (past_actions or validation))
    require(valid, "dagger", "be 0 with `past_actions` or `validation`", dagger)
    for name, value in (("demonstrator", demonstrator), ("env", env)):
        if dagger and value is None:
            raise RobooptError(
                f"`dagger` asks the demonstrator where the clone acts: give `{name}`."
            )
    with _made(env, options) as (spec, source, world):
        if (processes or workers is not None) and is_env(source):
            source, _ = env_maker(source)
        if world is not None and max_steps is None and time_limit(world) is None:
            # Before anything is learned: an endless evaluation would lose it.
            require_an_end(source, seed=seed, processes=processes)
            max_steps = MAX_EPISODE_STEPS
        if watch is not None and (world is None or env_scene(world) is None):
            raise RobooptError(
                f"`watch` needs an `env` with a robot, got {env}. {WATCHED}"
            )
        data = DemonstrationSet.load(
            demonstrations,
            world,
            clip=clip,
            held_out=held_out,
            validation=0.0 if dagger else validation,
            seed=seed,
            time_step=time_step,
            observation_keys=observation_keys,
        )
        data.require_longer(history=history, past_actions=past_actions, chunk=chunk)

        def build(past: int) -> Training:
            made = Training.of(
                data.with_past_actions(past),
                world,
                policy,
                loss,
                history=history,
                chunk=chunk,
                batch_size=batch_size,
                seed=seed,
                folded=validation is None and not dagger and not dropout,
                angles=angles,
                width=width,
                depth=depth,
                relative=relative,
                quantiles=quantiles,
            )
            if not dagger:
                return made
            how = {"rounds": dagger, "steps": steps, "max_steps": max_steps}
            return made.with_dagger(world, demonstrator, data, **how)

        def acting(actors: Mapping[str, Any], **how: Any) -> dict[str, Evaluation]:
            if ending() and world is not None:
                raise KeyboardInterrupt  # of the training: the command is to end
            how = {"seed": seed + EVALUATION_SEED_OFFSET, "episodes": episodes} | how
            how |= {"max_steps": max_steps, "processes": processes, "workers": workers}
            return _evaluations(
                source, {} if world is None else actors, progress, **how
            )

        def chosen_by(actors: Mapping[str, Any]) -> dict[str, Evaluation]:
            how = {"seed": seed + 2 * EVALUATION_SEED_OFFSET}
            try:
                return acting(actors, episodes=min(episodes, CHOICE_EPISODES), **how)
            except (KeyboardInterrupt, EnvError):  # The evaluation will tell.
                return {}

        recorded = None
        if demonstrator is None and all(e.rewards is not None for e in data.whole):
            same = partial(replace, time_step=data.whole[0].time_step, times=None)
            recorded = Evaluation.of(Trajectory.from_episodes([*map(same, data.whole)]))

        def unjudged(training: Training, result: Result) -> CloneResult:
            made = CloneResult(
                policy=training.acting(result.model),
                demonstrator=demonstrator,
                training=result,
                demonstrations=recorded,
                time_step=data.time_step,
                discrete=training.discrete,
                loss_axes=training.loss_axes,
                findings=tuple(data.findings),
                description=training.description,
                signals=data.signals if world is None else signals(world, data.names),
                scene=None if world is None else scene_or_none(env_scene, world),
                env=spec,
                seed=seed,
                source=data.source,
            )
            if keep is not None:
                keep(made)
            return made

        chosen = policy is not None or dagger or data.folder is not None
        # One episode cannot tell that copying the last action is more than a habit.
        chosen = chosen or len(data.whole) == 1
        with shielded():
            training, result = trained(
                build,
                data,
                past_actions=0 if chosen and past_actions is None else past_actions,
                seconds=seconds,
                checkpoint=checkpoint,
                steps=steps,
                patience=patience,
                weight_decay=weight_decay,
                dropout=dropout,
                progress=progress,
                log=log if watch is None else watch.log(log),
                showing=partial(_showing, watch, world, seed),
                acting=chosen_by,
                keep=unjudged,
            )
            made = unjudged(training, result)
        actors = {} if demonstrator is None else {"demonstrator": demonstrator}
        try:
            done = acting(actors | {"clone": made.policy})
            made = replace(made, evaluations=done, evaluation_failure="")
        except KeyboardInterrupt:
            pass
        except EnvError as error:  # What was trained is not lost by it.
            made = replace(made, evaluation_failure=str(error))
        say("judging the clone", progress)
        try:
            return _judged(made, training, data)
        except KeyboardInterrupt:
            return made


def _judged(
    made: CloneResult, training: Training, data: DemonstrationSet
) -> CloneResult:
    """Return the clone with its errors on held-out demonstrations, and baselines'."""
    model, seen = made.training.model, data.with_past_actions(training.past[0])
    errors = training.errors(model, seen.held_out)
    every = -(-len(data.training) // MAX_TRAINING_EPISODES)
    learned = training.errors(model, seen.training[::every])
    # The baselines see no past actions.
    baselines = training.baselines(data, data.known, data.held_out)
    return replace(
        made,
        mismatch=training.mismatch(made.training),
        errors={"clone": errors.total} | {k: x.total for k, x in baselines.items()},
        held_out=tuple(data.held_out),
        error_by_action=errors.by_action,
        error_over_time=errors.over_time,
        baseline_over_time={k: x.over_time for k, x in baselines.items()},
        training_error_over_time=learned.over_time,
        explained={} if ending() else training.explained(model),
    )


@contextlib.contextmanager
def _showing(
    watch: Watch | None, world: Any, seed: int, training: Training
) -> Iterator[Callable[[Any], object] | None]:
    """Show a training within the block; yield the callback of its descent."""
    if watch is None:
        yield None
        return
    starts = world.unwrapped.sample_starts(watch.starts, seed=seed)
    title = "clone" if world.spec is None else world.spec.id
    with watch.open(world, starts, training.shown(training.begun), title):
        yield lambda status: watch.update(training.shown(status.model))


def _evaluations(
    env: Any,
    actors: Mapping[str, Any],
    progress: bool,
    *,
    episodes: int,
    processes: int,
    workers: Ray | None,
    **how: Any,
) -> dict[str, Evaluation]:
    """Let the policies do the task, each from the same starts."""
    found: dict[str, Evaluation] = {}
    if not actors:
        return found
    with open_environments(env, episodes, processes, workers) as opened:
        for name, actor in actors.items():
            with progress_bar(f"testing the {name}", episodes, progress) as advance:
                how |= {"episodes": episodes, "progress": lambda _: advance()}
                found[name] = evaluate(opened, actor, **how)
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
