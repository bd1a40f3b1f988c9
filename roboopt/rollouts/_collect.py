"""Recording trajectories from a Gymnasium environment, any of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.policies import StatefulPolicy
from roboopt.rollouts._decider import Decider
from roboopt.rollouts._pool_worker import unchanged
from roboopt.rollouts._spaces import Actions, Refused, actions_of, check_observations

SAME_START = 1e-3  # Nothing drawn at random comes that near, nothing rounded is so far.


def collect(
    env: Any,
    policy: Any,
    *,
    starts: Any = None,
    episodes: int | None = None,
    seed: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Trajectory:
    """Run `policy` in `env` and return what happened, episodes of equal length as one.

    As `collect_episodes`, but that `seed` is the first episode's, and the others follow
    from it.

    Args:
        env: as there.
        policy: as there.
        starts: as there.
        episodes: as there.
        seed: of the first episode.
        progress: as there.

    Raises:
        RobooptError: as `collect_episodes`; or if the episodes end after different
            numbers of steps.
    """
    count = _count(starts, episodes)
    seeds = [seed] + [None] * (count - 1)
    runs = _run(env, policy, None, starts, seeds, seed, None, progress)
    lengths = {run.steps for run in runs}
    if len(lengths) > 1:
        raise RobooptError(
            "`env` must end every episode after the same number of steps, got "
            f"{min(lengths)} to {max(lengths)}: use `collect_episodes`."
        )

    def stacked(name: str) -> Any:
        values = [getattr(run, name) for run in runs]
        return None if any(v is None for v in values) else np.stack(values)

    names = [name for name in vars(runs[0]) if name != "time_step"]
    arrays = {name: stacked(name) for name in names}
    return Trajectory(time_step=runs[0].time_step, **arrays)


def collect_episodes(
    env: Any,
    policy: Any,
    *,
    episodes: int | None = None,
    starts: Any = None,
    seed: int | None = None,
    label: Any = None,
    max_steps: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Trajectory]:
    """Run `policy` in `env` and return what happened, each episode by itself.

    Continuous actions are clipped to their limits, as actuators do, and recorded so;
    choices are recorded as integers, (T, 1) of a Discrete space. The efforts come from
    `info["effort"]` where the environment gives them, success from its `task` or else
    from the last `info["is_success"]` or `info["success"]`. The time step is its
    `time_step` [s], or else 1/`metadata["render_fps"]`; in an environment without
    either a step counts as a second.

    Args:
        env: a Gymnasium environment whose observations are vectors, its actions
            vectors or choices; with `starts` one of `roboopt_envs`, or one that begins
            where `reset` is told by `options["start"]`.
        policy: `policy(observation) -> action`, an `OpenLoop`, a `TimeVaryingPolicy` or
        a `StatefulPolicy`. An
            function need not be JAX's; one that returns arrays of JAX must be pure.
        episodes: how many, where no starts are given.
        starts: observations to start at, (episodes, obs).
        seed: what all chance comes from. Episode k begins alike whatever happened
            before, and whoever acts; None leaves it to chance.
        label: of the same kinds as `policy`: the action recorded is its answer, while
            `policy` acts (Ross et al., 2011, DAgger; Laskey et al., 2017, DART).
            Rewards and efforts remain those of what acted.
        max_steps: an episode's end, where the environment has not ended it before. One
            that never ends needs it.
        progress: called with the number of episodes done, after each.

    Raises:
        RobooptError: unless exactly one of `starts` and `episodes` is given; if there
        is
            none to run, `seed` is negative, or `max_steps` less than 1; if the spaces
            of `env` are other than above, or it does not begin at the starts; if
            `policy` or `label` is not callable, or returns what is no action.
    """
    count = _count(starts, episodes)
    if seed is not None and seed < 0:
        raise RobooptError(f"`seed` must be at least 0, got {seed}.")
    seeds = [
        # Mixed, not added: seeds 0 and 1 are to share no episode.
        None if seed is None else _word(np.random.SeedSequence([seed, k]))
        for k in range(count)
    ]
    return _run(env, policy, label, starts, seeds, seed, max_steps, progress)


def _word(entropy: np.random.SeedSequence) -> int:
    return int(entropy.generate_state(1)[0])


def _count(starts: Any, episodes: int | None) -> int:
    if (starts is None) == (episodes is None):
        raise RobooptError(
            "either `starts` or `episodes` must be given, got "
            f"{'neither' if starts is None else 'both'}."
        )
    count = len(starts) if episodes is None else episodes
    if count < 1:
        raise RobooptError(f"`episodes` must be at least 1, got {count}.")
    return count


def _run(
    env: Any,
    policy: Any,
    label: Any,
    starts: Any,
    seeds: list[int | None],
    seed: int | None,
    max_steps: int | None,
    progress: Callable[[int], object] | None,
) -> list[Trajectory]:
    """Run an episode for each of `seeds`, the environment's; `seed` is the models'."""
    for name, model in (("policy", policy), ("label", label)):
        if not (model is None and name == "label" or _acts(model)):
            raise RobooptError(
                f"`{name}` must be callable, observation -> action, or an "
                f"`StatefulPolicy`, got "
                f"{model!r}."
            )
    if max_steps is not None and max_steps < 1:
        raise RobooptError(f"`max_steps` must be at least 1, got {max_steps}.")
    check_observations(env)
    recorder = _Recorder(env, policy, label, max_steps)
    chance = _word(np.random.SeedSequence()) if seed is None else seed
    runs = []
    for k, reset_seed in enumerate(seeds):
        start = None if starts is None else np.asarray(starts[k])
        options = None if start is None else {"start": start}
        observation, _ = env.reset(seed=reset_seed, options=options)
        if start is not None and recorder.sees_all:
            check_start(env, observation, start)
        runs.append(recorder.episode(observation, chance, k))
        if progress is not None:
            progress(k + 1)
    return runs


def _acts(model: Any) -> bool:
    return callable(model) or isinstance(model, StatefulPolicy)


class _Recorder:
    """Records episodes of one environment and one policy."""

    def __init__(self, env: Any, policy: Any, label: Any, max_steps: int | None):
        self._env = env
        self._actions: Actions = actions_of(env.action_space)
        self._policy = Decider(policy)
        self._label = None if label is None else Decider(label, stream=1)
        self._time_step = time_step_of(env)
        self._max_steps = float("inf") if max_steps is None else max_steps
        self.sees_all = unchanged(env)

    def episode(self, observation: Any, seed: int, number: int) -> Trajectory:
        observation = _vector(observation)
        self._policy.begin(observation, seed, number)
        if self._label is not None:
            self._label.begin(observation, seed, number)
        observations, actions, rewards, efforts = [observation], [], [], []
        terminated = truncated = False
        info = {}
        while not (terminated or truncated or len(actions) >= self._max_steps):
            at = observation, len(actions), number
            action = self._asked("policy", self._policy, *at)
            if self._label is None:
                actions.append(action)
            else:
                actions.append(self._asked("label", self._label, *at))
            observation, reward, terminated, truncated, info = self._env.step(
                self._actions.give(action)
            )
            observation = _vector(observation)
            observations.append(observation)
            rewards.append(reward)
            efforts.append(info.get("effort"))
        seen = np.stack(observations)
        return Trajectory(
            observations=seen,
            actions=np.stack(actions),
            time_step=self._time_step,
            rewards=np.array(rewards, float),
            efforts=None if any(e is None for e in efforts) else np.stack(efforts),
            terminated=np.array(bool(terminated)),
            success=self._success(seen, info),
        )

    def _asked(
        self, name: str, decider: Decider, observation: Any, step: int, episode: int
    ) -> np.ndarray:
        try:
            return self._actions.read(decider(observation, step * self._time_step))
        except Refused as refused:
            raise RobooptError(
                f"`{name}` {refused}, at step {step} of episode {episode} on "
                f"observation {observation}."
            ) from None

    def _success(self, observations: np.ndarray, info: dict) -> np.ndarray | None:
        judge = getattr(getattr(self._env.unwrapped, "task", None), "success", None)
        if callable(judge) and self.sees_all:
            said = judge(observations, self._time_step)
        else:
            said = info.get("is_success", info.get("success"))
        return None if said is None else np.array(bool(said))


def _vector(observation: Any) -> np.ndarray:
    # A copy: some environments write their observations over the last.
    vector = np.array(observation)
    return vector if vector.dtype.kind == "f" else vector.astype(float)


def time_step_of(env: Any) -> float:
    """Return what a step takes [s]; 1 where nothing says so."""
    # In many an environment a whole number of that name counts the steps.
    step = getattr(env.unwrapped, "time_step", None)
    if isinstance(step, float) and 0 < step < float("inf"):
        return float(step)
    rate = (env.unwrapped.metadata or {}).get("render_fps")
    return 1.0 / rate if rate else 1.0


def check_start(env: Any, observation: Any, start: np.ndarray) -> None:
    """Refuse an environment that does not begin where it is told.

    Raises:
        RobooptError: if `observation`, its first, is not `start`.
    """
    begun = np.asarray(observation)
    same = begun.shape == start.shape and np.allclose(
        begun, start, rtol=SAME_START, atol=SAME_START
    )
    if not same:
        raise RobooptError(
            "`env` must begin where `reset` is told by options['start'] if `starts` "
            f"are given; {env} was told {start} and began at {begun}."
        )
