"""The text of a runner: a class `Policy` that computes what was traced."""

import hashlib
import inspect
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from roboopt.export import _helpers
from roboopt.export._graph import Block
from roboopt.export._spelling import kind
from roboopt.export._writer import Writer

MARK = '"""A controller that roboopt exported'
BODY = " " * 8
HEAD = '''{mark}, of the kind {name}.

    from {module} import Policy

    policy = Policy("{module}.npz")
{use}
{says}

It needs NumPy alone, and Python 3.8 or later.
"""

{imports}

FINGERPRINT = "{fingerprint}"

'''
BEGIN = '''
class Policy:
    """What acts: `policy({arguments})` returns the action."""

    def __init__(self, path=None):
        """Read the arrays from `path`, by default the file beside this module."""
        path = pathlib.Path(__file__).with_suffix(".npz") if path is None else path
        with np.load(path, allow_pickle=False) as file:
            if str(file["fingerprint"]) != FINGERPRINT:
                raise RobooptError(
                    "`path` must be the file that was exported with this module, "
                    f"got {{path}}."
                )
'''
RESET = '''
    def reset(self):
        """Begin an episode: forget what was seen."""
        self._memory = None
'''
CALL = '''
    def __call__(self, {arguments}):
        """Return the action."""
'''
REMEMBER = """\
        if self._memory is None:
            self._memory = self._begin(observation)
        action, *self._memory = self._step(*self._memory, observation{time})
        return action
"""
METHOD = """
    def {name}(self, {arguments}):
"""


class Traced(NamedTuple):
    """A policy as it was traced."""

    name: str
    """Of its class."""
    step: Block
    """From the memory, the observation and the time to the action and the memory."""
    begin: Block | None
    """From the observation to the memory, if there is one."""
    timed: bool
    """Whether it takes the time."""
    seen: bool
    """Whether it looks at the observation."""


def runner(
    traced: Traced, module: str, writer: Writer
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the text of a module, and the arrays of the file beside it."""
    seen = traced.step.inputs[-2:]
    arguments = ["observation"] + ["time"] * traced.timed
    call = _checks(seen[0].shape, seen[0].dtype) if traced.seen else ""
    if traced.timed:
        call += f"{BODY}time = {kind(seen[1].dtype)}(time)\n"
    body = ""
    if traced.begin is None:
        lines = _computed(writer, traced.step, ["observation", "time"])
        call += re.sub(r"return \[(.*)\]\n$", r"return \1\n", lines)
    else:
        time = ", time" * traced.timed
        call += REMEMBER.format(time=time)
        names = [f"memory{i}" for i in range(len(traced.step.inputs) - 2)]
        body += METHOD.format(name="_begin", arguments="observation")
        body += _computed(writer, traced.begin, ["observation"])
        body += METHOD.format(name="_step", arguments=", ".join([*names, *arguments]))
        body += _computed(writer, traced.step, [*names, "observation", "time"])
    start = BEGIN.format(arguments=", ".join(arguments))
    start += "".join(
        f'            self.{name} = file["{name}"]\n' for name in writer.constants
    )
    if traced.begin is not None:
        start += f"{BODY}self.reset()\n{RESET}"
    code = start + CALL.format(arguments=", ".join(arguments)) + call + body
    helpers = _sources(writer.helpers)
    code = "\n\n".join(["", *helpers, ""])[1:] + code if helpers else code
    mark = hashlib.sha256(code.encode())
    for array in writer.constants.values():
        mark.update(array.tobytes())
    modules = ["math"] * ("math." in code) + ["pathlib"]
    head = HEAD.format(
        mark=MARK,
        name=traced.name,
        module=module,
        use=_use(traced),
        says=_says(traced),
        imports="\n".join(
            [*(f"import {m}" for m in modules), "", "import numpy as np"]
        ),
        fingerprint=mark.hexdigest()[:16],
    )
    arrays = {**writer.constants, "fingerprint": np.array(mark.hexdigest()[:16])}
    return head + code, arrays


def _checks(shape: Sequence[int], dtype: np.dtype) -> str:
    taken = f"np.asarray(observation, {kind(dtype)})"
    if dtype.kind != "f":
        taken = f'np.asarray(observation).astype({kind(dtype)}, casting="same_kind")'
    return (
        f"{BODY}observation = {taken}\n"
        f"{BODY}if observation.shape != {tuple(shape)}:\n"
        f"{BODY}    raise RobooptError(\n"
        f'{BODY}        "`observation` must have shape {tuple(shape)}, "\n'
        f'{BODY}        f"got {{observation.shape}}."\n'
        f"{BODY}    )\n"
    )


def _computed(writer: Writer, block: Block, inputs: Sequence[str]) -> str:
    """Return the lines of a block, those that may overflow without a warning."""
    writer.silent = False
    lines = writer.write(block, inputs, BODY)
    if writer.silent:
        lines = [f'{BODY}with np.errstate(all="ignore"):', *(f"    {x}" for x in lines)]
    return "".join(f"{line}\n" for line in lines)


def _sources(names: set[str]) -> list[str]:
    """Return the sources of helpers and of those that they call."""
    functions = {
        name: inspect.getsource(function)
        for name, function in vars(_helpers).items()
        if inspect.isfunction(function)
    }
    needed, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        called = set(re.findall(r"\b(\w+)\(", functions[name])) & set(functions)
        waiting |= called - needed
    return [text.rstrip() for name, text in functions.items() if name in needed]


def _use(traced: Traced) -> str:
    time = ", time" * traced.timed
    lines = ["policy.reset()  # when an episode begins"] * (traced.begin is not None)
    lines.append(f"action = policy(observation{time})")
    return "".join(f"    {line}\n" for line in lines)


def _says(traced: Traced) -> str:
    observation, action = traced.step.inputs[-2], traced.step.outputs[0]
    kinds = {"observation": observation, "action": action}
    if not traced.seen:
        del kinds["observation"]
    lines = [
        f"{name}: shape {node.shape}, {np.dtype(node.dtype).name}."
        for name, node in kinds.items()
    ]
    if not traced.seen:
        lines.append("The observation does not matter, and may be None.")
    if traced.timed:
        lines.append("time: since the episode began [s].")
    return "\n".join(lines)
