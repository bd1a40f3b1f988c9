"""How each parameter moved over a descent, and what its derivative asked for.

A plain gradient step moves each parameter against its derivative. Other optimizers also
follow past gradients (Adam) or how the slopes change (L-BFGS), and may move a parameter
the other way for a while.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboopt import optimize
from roboopt._core import LOGARITHM
from roboopt.report import Drawing, Figure, Notes, Summary, Table, number, panel

MAX_PANELS, MAX_SENTENCES = 12, 6
SHORT_SHARE = 0.01  # of a distance, that is not worth a word
LEGEND = {"L falls by raising it": "#2f80c9", "by lowering it": "#d9772b"}


@dataclass(frozen=True)
class DescentPath:
    """The values and derivatives of single parameters at every step of a descent."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Float[np.ndarray, "step parameter"]
    """Up to the model that was kept."""
    derivatives: Float[np.ndarray, "step parameter"]

    @classmethod
    def of(
        cls,
        result: optimize.Result,
        *,
        end: int | None = None,
        units: Mapping[str, str] | None = None,
        name: Callable[[str], str] = str,
    ) -> "DescentPath | None":
        """Return the path of a descent, None where `minimize` did not record one.

        Args:
            result: what `minimize` returned.
            end: the step whose model was kept; the last if None.
            units: by the name of a number, such as "gains[0, 1]"; of a logarithm by
                that of what it stands for.
            name: the name to show for that name.
        """
        if not result.parameters:
            return None
        until = None if end is None else end + 1
        values, slopes = (
            np.stack([np.asarray(v, float)[:until] for v in part.values()], 1)
            for part in (result.parameters, result.derivatives)
        )
        known, names = units or {}, []
        for k, (leaf, index) in enumerate(map(_parts, result.parameters)):
            if LOGARITHM.search(leaf):  # It is explained as the positive number.
                values[:, k] = np.exp(values[:, k])
                slopes[:, k] /= values[:, k]
            names.append(LOGARITHM.sub("", leaf) + index)
        return cls(
            tuple(map(name, names)),
            tuple(known.get(n, "") for n in names),
            values,
            slopes,
        )

    def summary(self) -> Summary:
        """Return start, end and derivatives of each parameter, and why it moved."""
        return Summary("Over the descent", [self.table()], self.sentences())

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    def table(self) -> Table:
        """Return a row a parameter: start, end, derivatives, and the way in between."""
        along, against = self.ways()
        rows = [
            [
                f"{name} [{unit}]" if unit else name,
                number(self.values[0, k]),
                number(self.values[-1, k]),
                number(self.derivatives[0, k]),
                number(self.derivatives[-1, k]),
                _three(along[k]),
                _three(against[k]),
            ]
            for k, (name, unit) in enumerate(zip(self.names, self.units, strict=True))
        ]
        header = ["parameter", "start", "end", "at first", "at last"]
        groups = [("", 3), ("dL/dp", 2), ("distance moved", 2)]
        return Table([*header, "downhill", "uphill"], rows, groups=groups)

    def ways(self) -> tuple[Float[np.ndarray, " parameter"], ...]:
        """Return how far each parameter moved downhill by its own derivative.

        Returns:
            The distances moved against the derivative, and along it.
        """
        moves, slopes = np.diff(self.values, axis=0), self.derivatives[:-1]
        size, product = np.abs(moves), moves * slopes
        return tuple(np.sum(size, 0, where=own) for own in (product < 0, product > 0))

    def sentences(self) -> list[str]:
        """Return why each parameter rose or fell, those that moved most first."""
        moved = np.abs(self.values[-1] - self.values[0])
        share = moved / np.maximum(np.abs(self.values[0]), 1e-300)
        chosen = [k for k in np.argsort(-share) if moved[k] > 0][:MAX_SENTENCES]
        said = [self._reason(int(k)) for k in chosen]
        if (self.ways()[1] > 0).any():
            said.append(
                "A parameter moves downhill where it moves against its own derivative. "
                "Uphill it is moved by the optimizer: L-BFGS follows how the slopes of "
                "all parameters change together, Adam follows past gradients."
            )
        return said

    def _reason(self, k: int) -> str:
        values, slopes = self.values[:, k], self.derivatives[:-1, k]
        moves, rose = np.diff(values), values[-1] > values[0]
        forward = moves > 0 if rose else moves < 0
        asked = slopes < 0 if rose else slopes > 0
        way, other = ("raising", "lowering") if rose else ("lowering", "raising")
        said = (
            f"{self.names[k]} {'rose' if rose else 'fell'} from {number(values[0])} to "
            f"{number(values[-1])}"
        )
        size = np.abs(moves)
        gone, back = size[forward].sum(), size[~forward].sum()
        by_slope = size[forward & asked].sum()
        # Steps too short to be shown, as at the end of a descent, are left out.
        if by_slope >= (1 - SHORT_SHARE) * gone:
            said += f", as its derivative asked: L fell by {way} it"
        elif by_slope <= SHORT_SHARE * gone:
            said += (
                f", although by its own derivative L fell by {other} it: the optimizer "
                "moved it together with the others"
            )
        else:
            said += (
                f": it went {_three(by_slope)} that way where by its derivative L "
                f"falls by {way} it, and {_three(gone - by_slope)} where L falls by "
                f"{other} it, moved together with the others"
            )
        if back > SHORT_SHARE * gone:
            said += f"; in between it {'fell' if rose else 'rose'} by {_three(back)}"
        return f"{said}."

    def blocks(self) -> list[Table | Figure | Notes]:
        """Return the table, the sentences and a figure for a report."""
        count = len(self.names)
        panels = [self._panel(k) for k in range(min(count, MAX_PANELS))]
        first = f", the first {MAX_PANELS} of {count}" if count > MAX_PANELS else ""
        caption = (
            f"Each parameter over the steps of the descent{first}. The dots say what "
            "its derivative asks for: L falls by raising it, or by lowering it."
        )
        figure = Figure(panels, caption, LEGEND)
        return [self.table(), Notes(self.sentences()), figure]

    def _panel(self, k: int) -> Drawing:
        values, slopes = self.values[:, k], self.derivatives[:, k]
        name, unit = self.names[k], self.units[k] or "1"
        with panel(name, "gradient step", unit, label=f"{name} over steps") as made:
            steps = np.arange(len(values))
            made.axes.plot(steps, values, color="#8a919c", lw=0.8, label=name)
            for wanted, key in zip((slopes < 0, slopes > 0), LEGEND, strict=True):
                own = {"color": LEGEND[key], "markersize": 5, "gid": key}
                made.axes.plot(steps[wanted], values[wanted], ".", **own)
        return made


def _parts(name: str) -> tuple[str, str]:
    """Return the array and the index in the name of a number."""
    found = re.fullmatch(r"(.+?)(\[[\d, ]+\])?", name)
    assert found is not None
    return found[1], found[2] or ""


def _three(distance: float) -> str:
    return f"{distance:.3g}".replace("-", "−")
