"""Tests run in double precision, with the shapes of many packages checked at each call.

Programs are compiled with little optimization, each in one piece and without XLA's
emitters of fusions, which take most of the time of the compilation: the suite compiles
far more than it computes. What a program calls several times is optimized once.
Programs share contexts of MLIR: JAX makes one for each, and loads its dialects, which
takes a fifth of the time of a small program. The programs are kept between runs. Each
of them holds memory maps, of which the kernel grants a process 65,530: before these run
out, where XLA would abort, the compiled programs are dropped.
"""

import functools
import gc
import itertools
import os
import signal
from importlib.metadata import version
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "jax"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # The workers share processors.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ["XDG_CACHE_HOME"] = str(CACHE.parent)  # of the commands, not the user's own
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
SKIPPED = (  # They take an eighth of the compilation, and make programs no smaller.
    *("while-loop-invariant-code-motion", "while-loop-constant-sinking"),
    "cpu-parallel-task-assigner",
)
FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"
if version("jaxlib").startswith("0.10."):  # XLA aborts where it does not know a flag.
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
    FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
    FLAGS += " --xla_backend_extra_options=xla_cpu_flatten_after_fusion"
    FLAGS += " --xla_disable_hlo_passes=" + ",".join(SKIPPED)
os.environ.setdefault("XLA_FLAGS", FLAGS)

import jax  # noqa: E402
import pytest  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARING = 100  # programs of a context, which keeps their types and constants
PROGRAMS = itertools.count()
context_of = functools.lru_cache(1)(lambda group, make=mlir.make_ir_context: make())
mlir.make_ir_context = lambda: context_of(next(PROGRAMS) // SHARING)

# Checks at each call of functions that are called thousands of times while JAX traces a
# robot take a quarter of all time: those are made on demand.
CHECKED = "data imitation losses networks objectives policies rl".split()
if os.environ.get("ROBOOPT_TESTS_CHECK") == "all":
    CHECKED += "diagnose dynamics gradients rollouts sysid".split()
install_import_hook([f"roboopt.{name}" for name in CHECKED], "beartype.beartype")

# A shell that starts pytest in the background lets it and its children ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

gc.set_threshold(50_000)  # tracing makes many objects, few of them in cycles


def pytest_unconfigure():
    """Collect garbage once: pytest does it five times, which takes seconds."""
    gc.collect()
    gc.freeze()


MAPS = Path("/proc/self/maps")
MAX_MAPS = 20_000  # some 4 GB of compiled programs
TESTS = itertools.count(1)
CHECK_PERIOD = 10  # tests; counting the maps takes some 20 ms


@pytest.fixture(autouse=True)
def _few_memory_maps():
    """Drop compiled programs where they hold many memory maps."""
    yield
    if next(TESTS) % CHECK_PERIOD or not MAPS.exists():
        return
    if MAPS.read_bytes().count(b"\n") > MAX_MAPS:
        jax.clear_caches()
