"""Tests run in double precision, with shapes checked at each call.

Programs are compiled with little optimization, since the suite compiles far more than
it computes, and kept between runs. Not under CI: JAX 0.10.2 has crashed, once in some
thousand tests, while it read a compiled program from disk.
"""

import os
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "jax"
if "CI" not in os.environ:
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ["XDG_CACHE_HOME"] = str(CACHE.parent)  # of the commands, not the user's own
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
)

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("roboopt", "beartype.beartype")
