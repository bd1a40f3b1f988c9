"""Multiple shooting: the initial state of every window is fitted as well.

    L(f, s) = 1/(2N) · (Σ_k ((ŝ_k − y_k) / σ)² + Σ_w ((ŝ_w(t_{w+1}) − s_{w+1}) / γ)²)

with measured states y_k and windows w that begin at states s_w of their own, unknowns
beside the parameters (Bock, 1981; Bock, Kostina and Schlöder, 2007). States that were
not measured need not be known, noise in a measured start does not spoil the prediction,
and an unstable motion diverges over one window only, while the gaps, here soft with a
scale γ, hold the recording together.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Trajectory, differentiate
from roboopt.dynamics import Gaussian
from roboopt.objectives._objective import ResidualObjective, Term
from roboopt.objectives._prediction_windows import PredictionWindows, state_size
from roboopt.objectives._scale import check_scale, check_wraps, scaled, wrapped


class ShootingVariables(Jittable):
    """The unknowns of multiple shooting: a dynamics, and the windows' initial states.

    Both are trained: the dynamics as it would be alone, and all of `states`.
    """

    dynamics: Callable[[Array, Array], Any]
    states: Float[Array, "window state"]

    @classmethod
    def of(
        cls,
        dynamics: Callable[[Array, Array], Any],
        batch: Trajectory,
        horizon: int,
        *,
        velocities: bool = True,
        wraps: tuple[bool, ...] | None = None,
    ) -> "ShootingVariables":
        """Begin every window at its measured state.

        Velocities that were not measured are computed from the positions, of which
        there must then be at least 3 samples.

        Args:
            dynamics: `dynamics(state, action) -> next_state`.
            batch: one trajectory, or several of equal length.
            horizon: steps a window, as in `MultipleShooting`.
            velocities: whether the second half of a state was measured; if not, it is
                ignored. NaN marks single velocities that were not measured.
            wraps: as in `MultipleShooting`.
        """
        require_at_least(1, horizon=horizon)
        size = state_size(dynamics, batch.observations.shape[-1])
        if wraps is not None:
            check_wraps(wraps, size)
        states = np.array(batch.observations[..., :size])
        half = size // 2
        absent = np.isnan(states) | (np.arange(size) >= (size if velocities else half))
        absent[..., :half] = False
        if absent.any():
            if size % 2:
                raise RobooptError(
                    "`batch` must hold states [q, q̇] where velocities were not "
                    f"measured, got {size} coordinates."
                )
            rates = _differences(batch, states[..., :half], wraps)
            states = np.where(absent, np.concatenate([rates, rates], -1), states)
        if not np.isfinite(states).all():
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(states))[0])
            raise RobooptError(
                "`batch` must be finite, but for velocities that were not measured, "
                f"got {states[first]} at {first} of its observations."
            )
        measured = replace(batch, observations=states)
        windows = PredictionWindows.of(dynamics, measured, horizon)
        return cls(dynamics, windows.states[:, 0])

    def __call__(self, state: Float[Array, " state"], action: Array) -> Any:
        """Return the next state."""
        return self.dynamics(state, action)


class MultipleShooting(ResidualObjective):
    """Errors within windows, and gaps between them.

    The objective takes the whole recording at once: every window has its unknowns, and
    more windows make a step of `least_squares` slower. With positions alone:

        noise, jumps = np.array([0.001, np.inf]), np.array([0.001, 0.005])
        objective = MultipleShooting(25, scale=noise, gap_scale=jumps)
        start = ShootingVariables.of(pendulum, recording, 25, velocities=False)
        fitted = least_squares(objective, start, recording).model.dynamics

    Every sample counts once, so that with closed gaps this is the output error of the
    whole recording from the best first state. The last window of a trajectory is
    shifted to end with it; the window before is then judged up to its beginning.
    """

    horizon: int = eqx.field(static=True)
    """Steps a window: few where the motion is unstable, or the first guess is poor."""
    scale: Float[AnyArray, " state"]
    """One a state coordinate, in its unit, such as the noise's standard deviation;
    infinite where it was not measured. Such data must still be finite: fill in 0."""
    gap_scale: Float[AnyArray, " state"]
    """One a state coordinate: the distance from the end of a window to the beginning of
    the next, which the dynamics need not explain. Smaller scales need more steps."""
    wraps: tuple[bool, ...] | None = eqx.field(static=True, default=None)
    """Which coordinates are angles that count modulo 2π; None for none."""

    def __check_init__(self):
        require_at_least(1, horizon=self.horizon)
        check_scale("scale", self.scale)
        check_scale("gap_scale", self.gap_scale, infinite=False)

    def errors(self, model: Any, batch: Trajectory) -> Float[Array, "sample state"]:
        """Return predicted less measured states, in their units, in order of time.

        Raises:
            RobooptError: if `model` is no `ShootingVariables` of the same batch and
                horizon, `batch` is shorter than `horizon`, the dynamics returns a
                Gaussian, or its steps are not the recorded ones and it has no
                `advance`.
        """
        return self._errors_and_gaps(model, batch)[0]

    def gaps(self, model: Any, batch: Trajectory) -> Float[Array, "gap state"]:
        """Return the ends of windows less the beginnings of the next ones."""
        return self._errors_and_gaps(model, batch)[1]

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "row state"]:
        """Return the scaled errors, 0 where nothing was measured, and then the gaps."""
        return jnp.concatenate(self._scaled(model, batch))

    def terms(self, model: Any, batch: Trajectory) -> dict[str, Term]:
        """Return the parts of half the residuals' mean square: errors and gaps."""
        errors, gaps = self._scaled(model, batch)
        each = 0.5 / (errors.size + gaps.size)
        return {
            "prediction_error": Term(each * jnp.sum(errors**2), 1.0, "1"),
            "gaps": Term(each * jnp.sum(gaps**2), 1.0, "1"),
        }

    def _scaled(self, model: Any, batch: Trajectory) -> tuple[Array, Array]:
        errors, gaps = self._errors_and_gaps(model, batch)
        return scaled(errors, self.scale), scaled(gaps, self.gap_scale, "gap_scale")

    def _errors_and_gaps(self, model: Any, batch: Trajectory) -> tuple[Array, Array]:
        valid = hasattr(model, "states") and hasattr(model, "dynamics")
        require(valid, "model", "be a `ShootingVariables`", type(model))
        windows = PredictionWindows.of(model.dynamics, batch, self.horizon)
        begins = model.states
        if begins.shape != windows.states[:, 0].shape:
            raise RobooptError(
                "`model` must hold one state for each window, "
                f"{windows.states[:, 0].shape}, got shape {begins.shape}: make it with "
                "`ShootingVariables.of` of the same batch and horizon."
            )
        after = windows.predict(model.dynamics, begins)
        if isinstance(after, Gaussian):
            raise RobooptError(
                "`model.dynamics` must predict states for a sum of squares, got a "
                "Gaussian."
            )
        nodes = jnp.concatenate([begins[:, None], after], 1)
        # The step of each window at which the next begins: later samples are its.
        steps = batch.actions.shape[-2]
        first = np.minimum(np.arange(0, steps, self.horizon), steps - self.horizon)
        judged = np.append(np.diff(first), self.horizon + 1)
        judged = np.tile(judged, len(begins) // len(first))
        window, node = np.nonzero(np.arange(self.horizon + 1) < judged[:, None])
        errors = (nodes - windows.states)[window, node]
        before = np.flatnonzero(judged <= self.horizon)
        gaps = nodes[before, judged[before]] - begins[before + 1]
        return wrapped(errors, self.wraps), wrapped(gaps, self.wraps)


def _differences(
    batch: Trajectory, positions: np.ndarray, wraps: tuple[bool, ...] | None
) -> np.ndarray:
    """Return the time derivatives of positions."""
    half = positions.shape[-1]
    if wraps is not None:
        turning = np.array(wraps[:half], bool)
        positions = np.where(turning, np.unwrap(positions, axis=-2), positions)
    flat = positions.reshape(-1, *positions.shape[-2:])
    times = batch.times
    if times is None:
        times = batch.time_step * np.arange(batch.steps + 1)
        times = np.broadcast_to(times, flat.shape[:-1])
    rates = map(differentiate, flat, np.reshape(times, flat.shape[:-1]))
    return np.stack(list(rates)).reshape(positions.shape)
