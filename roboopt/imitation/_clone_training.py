"""The training of a clone: what is minimized, over which samples, and how it went."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._deadline import require_a_step
from roboopt._errors import RobooptError
from roboopt._programs import called
from roboopt._progress import progress_line
from roboopt.data import Demonstrations, Trajectory
from roboopt.diagnose import Explanation, explain
from roboopt.imitation._action_bounds import ActionBounds, action_bounds
from roboopt.imitation._action_errors import Errors, counted_axes, progress_words
from roboopt.imitation._baselines import baseline_errors, within
from roboopt.imitation._dagger import DAgger
from roboopt.imitation._demonstration_set import DemonstrationSet
from roboopt.imitation._dropout import Dropout, Masked, regularization
from roboopt.imitation._policy_kinds import (
    action_spread,
    choices_of,
    fresh_policy,
    kind_for,
    objective_for,
    with_memory,
)
from roboopt.imitation._selection import Selection, last_of
from roboopt.imitation._training_in_words import (
    counts_in_words,
    inputs_in_words,
    limits_in_words,
)
from roboopt.losses import L2, FlowMatching, flow_batches
from roboopt.objectives import ActionMismatch
from roboopt.optimize import Log, Result, adam, minimize
from roboopt.policies import SampleActions

DAGGER_SEED_OFFSET = 2_000_003
DAGGER_EPISODES = 5  # per round
MAX_HELD_OUT_FLOW_SAMPLES = 4096
EXPLAINED_SAMPLES = 1024
BATCH_SIZE = 256  # the default, which may be more than a few demonstrations hold
NO_BETTER = ": a network was no better"
MULTIMODAL = ("flow", "gmm", "categorical")


@dataclass(frozen=True)
class Training:
    """A policy, the objective it descends, and the samples."""

    policy: Any
    objective: ActionMismatch
    samples: Demonstrations
    data: Any
    """The data of `minimize`: samples, or a source of batches."""
    batch_size: int | None
    validation: Any
    """A batch of samples that select the policy; None without."""
    held_out: Any
    """A batch of held-out samples."""
    cut: dict[str, Any]
    """How trajectories are cut into samples: history, chunk, low and high."""
    kind: str
    seed: int
    description: dict[str, str]
    space: Any
    """The actions that the clone keeps to: `ActionBounds`, or the environment's space;
    None for any."""
    past: tuple[int, Any]
    """How many of its last actions the policy sees, and the one before an episode."""
    selection: Selection | None
    """What chooses between a network and a linear policy; None where nothing does."""

    @classmethod
    def of(
        cls,
        data: DemonstrationSet,
        env: Any,
        policy: Any,
        loss: Any,
        *,
        history: int,
        chunk: int | None,
        batch_size: int,
        seed: int,
        folded: bool,
        **network: Any,
    ) -> "Training":
        """Choose a policy and a loss that fit the demonstrations and the actions.

        With `folded`, few episodes select the default policy by cross-validation.
        """
        if env is None:
            discrete = np.asarray(data.training[0].actions).dtype.kind in "iu"
        else:
            discrete = not hasattr(env.action_space, "low")
        own = policy is not None and not isinstance(policy, str)
        kind = kind_for(None if own else policy, discrete)
        cut: dict[str, Any] = {"history": history, "chunk": chunk}
        if not discrete and env is not None:
            limits = {"low": env.action_space.low, "high": env.action_space.high}
            cut |= {name: x for name, x in limits.items() if np.isfinite(x).any()}
        parts, source = data.samples(**cut)
        samples, held_out = parts["training"], parts["held_out"]
        validation, known = parts.get("validation"), parts["known"]
        objective = objective_for(kind, loss, known)
        words, selection = type(policy).__name__, None
        if not own:
            network |= {"history": history, "chunk": chunk, "seed": seed}
            network["motions"] = data.known
            if discrete:
                network |= choices_of(known, env)

            def build(kind: str, begin: Demonstrations) -> tuple[Any, str]:
                return fresh_policy(kind, begin, env, **network)

            # What selects a network does not begin it.
            begin = known if kind in ("linear", "stable") else samples
            chooses = policy is None and validation is not None
            policy, words = build(kind, begin)
            if chooses:
                whole = {"chunk": chunk, "seed": seed, "folded": folded}
                whole["discrete"] = discrete
                selection = Selection.of(objective, data, parts, build, **whole)
            if selection is not None:
                policy = selection.networks[-1]
                samples = known if selection.folded else samples
        if batch_size > max(len(samples), BATCH_SIZE):
            warnings.warn(
                f"`batch_size` is {batch_size}, but there are {len(samples)} samples, "
                "which each step takes all.",
                stacklevel=2,
            )
        batch_size = min(batch_size, len(samples))
        description = {
            "policy": words,
            "input": inputs_in_words(history, data.past_actions),
            "loss": type(objective.loss).__name__,
            "samples": counts_in_words(source or samples, parts, selection, data.whole)
            + f", {len(held_out)} held out {data.split}",
        }
        if chunk is not None:
            description["chunk"] = f"{chunk} actions predicted at once"
        if network["quantiles"] and not own:
            description["normalization"] = "by the 1 % and 99 % quantiles"
        space = None if env is None else env.action_space
        # A policy of the user's, and a stable one, may need any action.
        if not own and not discrete and kind != "stable":
            description |= limits_in_words(space)
            space = action_bounds(known.actions, space)
        made = cls(
            policy=policy,
            objective=objective,
            samples=known,
            data=samples if source is None else source,
            batch_size=batch_size,
            validation=validation,
            held_out=held_out,
            cut=cut,
            kind=kind,
            seed=seed,
            description=description,
            space=space,
            past=(data.past_actions, data.first_action),
            selection=selection,
        )
        if not isinstance(objective.loss, FlowMatching):
            return made
        if source is not None:
            raise RobooptError(
                "`policy` 'flow' needs demonstrations that fit in memory: choose 'gmm'."
            )

        def drawn(part: Any) -> Any:
            draw = flow_batches(part, MAX_HELD_OUT_FLOW_SAMPLES)
            return draw(policy, jax.random.key(0))

        return dataclasses.replace(
            made,
            data=flow_batches(samples, batch_size),
            batch_size=None,
            validation=None if validation is None else drawn(validation),
            held_out=drawn(held_out),
        )

    def acting(self, model: Any) -> Any:
        """Return the policy that acts, of the model that was trained."""
        history, chunk = self.cut["history"], self.cut["chunk"]
        size = self.samples.observations.shape[-1] // history
        model = SampleActions(model) if self.kind == "flow" else model
        averages = self.kind not in MULTIMODAL
        more = {"past": self.past, "space": self.space}
        return with_memory(model, size, history, chunk, averages=averages, **more)

    @property
    def begun(self) -> Any:
        """Return the model at which the descent begins."""
        if self.selection is None or not self.folded:
            return self.policy
        return self.selection.descent[1]

    def shown(self, model: Any) -> Any:
        """Return the policy that acts, of a model on the way: the last of a stack."""
        if self.folded:
            model = last_of(model)
        return self.acting(model)

    def with_dagger(
        self,
        env: Any,
        demonstrator: Any,
        data: DemonstrationSet,
        *,
        rounds: int,
        steps: int,
        max_steps: int | None,
    ) -> "Training":
        """Return the training in which the demonstrator labels what the clone meets."""
        if self.batch_size is None or data.folder is not None:
            raise RobooptError(
                "`dagger` needs demonstrations that fit in memory, and no "
                "`policy='flow'`."
            )
        source = DAgger(
            env,
            demonstrator,
            data.known,
            episodes=DAGGER_EPISODES,
            steps=max(1, steps // (rounds + 1)),
            seed=self.seed + DAGGER_SEED_OFFSET,
            wrap=self.acting,
            max_steps=max_steps,
            **self.cut,
        )
        # The demonstrator may go beyond the range that it has demonstrated.
        own = {"validation": None, "selection": None, "space": env.action_space}
        return dataclasses.replace(self, data=source, **own)

    @property
    def discrete(self) -> bool:
        """Return whether the actions are choices."""
        return np.asarray(self.samples.actions).dtype.kind in "iu"

    def errors(self, model: Any, episodes: Sequence[Trajectory]) -> Errors:
        """Return how far the actions of `model` are from the demonstrated ones."""
        own = Demonstrations.from_trajectories(episodes, **self.cut)
        predict = jax.jit(jax.vmap(model))
        actions = np.asarray(predict(jnp.asarray(own.observations, float)))
        if self.cut["chunk"] is not None:
            actions = actions[:, 0]
        ends = np.cumsum([e.steps for e in episodes])[:-1]
        pairs = zip(np.split(actions, ends), episodes, strict=True)
        made = [within(one, episode, self.limits) for one, episode in pairs]
        if (bounds := self.bounds) is not None:
            made = [bounds.keep(one) for one in made]
        return Errors.of(made, episodes, self.spread)

    @property
    def bounds(self) -> ActionBounds | None:
        """Return the range that the clone keeps, None where it has no such range."""
        return self.space if isinstance(self.space, ActionBounds) else None

    @property
    def limits(self) -> dict[str, Any]:
        """Return the actuators' limits, by "low" and "high"."""
        return {name: self.cut[name] for name in ("low", "high") if name in self.cut}

    @property
    def spread(self) -> np.ndarray:
        """Return the standard deviation of each axis of the actions."""
        return action_spread(self.samples)

    @property
    def loss_axes(self) -> int | None:
        """Return over how many axes the loss is half a sum of squares, else None."""
        squares = isinstance(self.objective.loss, L2)
        return int(counted_axes(self.spread).sum()) if squares else None

    def baselines(
        self, data: DemonstrationSet, known: Any, asked: Any
    ) -> dict[str, Errors]:
        """Return what the baselines err on episodes `asked`, who know the `known`."""
        first, limits = data.first_action, self.limits
        return baseline_errors(known, asked, first, self.spread, limits, self.bounds)

    def explained(self, model: Any) -> dict[str, Explanation]:
        """Explain the gradient at the start and at `model`, on samples."""
        batch = self.batch()
        count = len(jax.tree.leaves(batch)[0])
        rows = np.linspace(0, count - 1, min(count, EXPLAINED_SAMPLES)).astype(int)
        batch = jax.tree.map(lambda x: jnp.asarray(x)[rows], batch)
        ends = {"start": self.policy, "end": model}
        return {when: explain(self.objective, m, batch) for when, m in ends.items()}

    def batch(self) -> Any:
        """Return a batch of training samples."""
        if self.batch_size is None:
            return self.data(self.policy, jax.random.key(1))
        return self.data if isinstance(self.data, Demonstrations) else self.samples

    def run(
        self,
        steps: int,
        *,
        seconds: float,
        patience: int | None = None,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        progress: bool = False,
        log: Log | None = None,
        callback: Callable[[Any], object] | None = None,
        checkpoint: Any = None,
    ) -> Result:
        """Descend on the mismatch, and return the best policy on validation samples."""
        objective, data, size = self.objective, self.data, self.batch_size
        model, validation = self.policy, self.validation
        given = {"dropout": dropout, "weight_decay": weight_decay}
        self.description.update(regularization(model, **given))
        if self.folded:
            assert self.selection is not None
            objective, model, data, validation = self.selection.descent
        if dropout:
            if size is None or not isinstance(data, Demonstrations):
                raise RobooptError(
                    "`dropout` must be 0 with `dagger`, `policy='flow'` and "
                    f"demonstrations that do not fit in memory, got {dropout}."
                )
            thin = Dropout(objective, dropout)
            objective, data, size = thin, thin.batches(data, size), None
            validation = None if validation is None else Masked(validation)
        optimizer = adam(steps, weight_decay=weight_decay) if weight_decay else None
        axes = self.loss_axes
        with progress_line(steps, progress) as show:

            def told(status: Any) -> None:
                show(status.step, progress_words(status, steps, axes, self.validation))
                if callback is not None:
                    callback(status)

            result = minimize(
                objective,
                model,
                data,
                steps=steps,
                batch_size=size,
                optimizer=optimizer,
                validation=validation,
                patience=None if self.validation is None else patience,
                seconds=seconds,
                seed=self.seed,
                log=log,
                callback=told,
                checkpoint=checkpoint,
            )
        require_a_step(result, seconds)
        if not len(result.history["loss"]):
            raise KeyboardInterrupt
        return result

    @property
    def folded(self) -> bool:
        """Return whether cross-validation selects the policy."""
        return self.selection is not None and self.selection.folded

    def selected(self, result: Result) -> tuple[Result, float]:
        """Return the result with the policy that is kept, and its error.

        The error is the root mean square on samples that select, over the actions'
        spread; NaN where nothing chooses between policies.
        """
        if self.selection is None:
            return result, np.nan
        kept, said = self.selection.kept(result.model), self.description
        if kept.share == 0:
            said["policy"] = self.selection.words + NO_BETTER
        elif kept.share < 1:
            said["policy"] += (
                f", {100 * kept.share:.0f} % of its way from the linear policy"
            )
        return dataclasses.replace(result, model=kept.model, loss=kept.loss), kept.error

    def mismatch(self, result: Result) -> dict[str, float]:
        """Return the mismatch by "training", "validation" where known, "held out"."""
        parts = {"training": self.batch(), "held out": self.held_out}
        if self.validation is not None and self.selection is None:
            parts["validation"] = self.validation
        found = {
            k: float(called(self.objective, result.model, x)) for k, x in parts.items()
        }
        # A linear policy that is kept has learned from validation samples since.
        return found if self.selection is None else {**found, "validation": result.loss}
