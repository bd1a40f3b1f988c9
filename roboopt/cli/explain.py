"""`roboopt explain`: say what the gradient of a run's objective says."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from roboopt._errors import RobooptError
from roboopt.cli._flags import allow_flag, flag
from roboopt.cli._results import load_result


@dataclass(frozen=True)
class Explain:
    """Explain the gradient of a run, parameter by parameter.

    The command prints for each parameter its value, the derivative of the loss, the
    effect of a change by one percent, and the direction that lowers the loss; then the
    gradient of each term, the predicted and the actual change of the loss by learning
    rate, and the contribution of each part of the motion. All of it is shown at the
    start of the run and at its end, as far as the run kept the data: `reinforce` has no
    start. Each array of a network is one row, with the norm of its derivatives. Of
    `tune`, it also says how each gain moved over the run, and why.
    """

    folder: Path = flag(
        dataclasses.MISSING, "Folder of a run.", shown="RUN", positional=True
    )
    allow: tuple[str, ...] = allow_flag()

    def run(self) -> int:
        """Print the gradients at the start and the end; return the exit code."""
        from roboopt._progress import say
        from roboopt.cli._process import jax_settings
        from roboopt.diagnose import ENDS, KEPT_START

        with jax_settings():
            result = load_result(self.folder, "folder", self.allow)
            if not hasattr(result, "gradients"):
                raise RobooptError(
                    "`folder` must be the folder of a run of tune, clone, reinforce or "
                    f"identify, got {self.folder}; in Python there is roboopt.explain"
                )
            say("explaining the gradient")
            found = result.gradients()
            path = getattr(result, "path", lambda: None)()
            if not found:
                print("Each gradient step had other data: none is known by itself.")
            elif "start" not in found:
                print("The data of the first step were not kept, the end is:\n")
            first = next(iter(found.values()), None)
            for when, explanation in found.items():
                kept = explanation is not first and explanation.same_point(first)
                said = KEPT_START if kept else explanation
                print(f"{ENDS[when]}\n{said}\n")
            if path is not None:
                print(path)
        return 0
