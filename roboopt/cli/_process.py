"""Settings of the whole process that a command changes, and puts back when it ends."""

import contextlib
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from roboopt._progress import worded

MIN_COMPILE_TIME_S = 0.0  # Each of a command's many fast compilations counts too.


@contextlib.contextmanager
def process_settings(wording: Callable[[str], str] = str) -> Iterator[None]:
    """Show warnings in one line, once, and notes, by `wording`; restore all after."""
    shown, path = warnings.showwarning, list(sys.path)
    token = worded.set(wording)
    said: set[str] = set()

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        text = wording(str(message))
        if text not in said:
            print(f"roboopt: warning: {text}", file=sys.stderr)
        said.add(text)

    warnings.showwarning = show
    try:
        yield
    finally:
        worded.reset(token)
        warnings.showwarning = shown
        sys.path[:] = path


def find_own_modules() -> None:
    """Let modules of the working directory be imported, after all installed ones.

    This is only for a command line that names such a module: in a folder of a
    stranger's files, one called h5py.py is not to be imported as the package.
    """
    if "" not in sys.path:
        sys.path.append("")


@contextlib.contextmanager
def jax_settings() -> Iterator[None]:
    """Compute in double precision, and keep compiled programs between runs."""
    import jax

    # An environment waits for every action: handing it to a thread takes longer than
    # computing it.
    wanted: dict[str, Any] = {
        "jax_enable_x64": True,
        "jax_cpu_enable_async_dispatch": False,
    }
    own_cache = jax.config.jax_compilation_cache_dir  # pyright: ignore
    cache = None if own_cache else _cache_folder()
    if cache is not None:
        wanted["jax_compilation_cache_dir"] = str(cache)
        wanted["jax_persistent_cache_min_compile_time_secs"] = MIN_COMPILE_TIME_S
    before = {name: jax.config.values[name] for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        if cache is not None:
            from jax.experimental.compilation_cache import compilation_cache

            compilation_cache.reset_cache()


def _cache_folder() -> Path | None:
    """Return the user's folder for compiled programs; None if it cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    folder = Path(base or Path.home() / ".cache") / "roboopt" / f"jax-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _processor() -> str:
    """Return a name for this kind of processor: homes are shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Feat")))
    except (OSError, StopIteration):
        features = ""
    return hashlib.sha256(features.encode()).hexdigest()[:8]
