"""The architecture of docs/design.md: imports point one way, through public names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = (
    *("urdf", "data", "networks", "dynamics", "policies", "rollouts", "losses"),
    *("objectives", "gradients", "loggers", "optimize", "view", "report"),
    *("diagnose", "sysid", "imitation", "rl", "tuning", "export", "cli"),
)
VERBS = ("sysid", "imitation", "rl", "tuning", "export")


def imports(path: Path) -> set[str]:
    """Return the modules of roboopt that a file imports when it runs."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "roboopt"}


FILES = sorted((ROOT / "roboopt").rglob("*.py"))
MODULES = {
    ".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f
    for f in FILES
}


def package(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ORDER else None


@pytest.mark.parametrize("name", sorted(m for m in MODULES if package(m)))
def test_imports_point_down_and_through_public_names(name):
    own = package(name)
    for other in imports(MODULES[name]):
        theirs = package(other)
        if theirs is None or theirs == own:
            continue
        assert ORDER.index(theirs) < ORDER.index(own), f"{name} imports {other}"
        assert not (own in VERBS and theirs in VERBS), f"{name} imports {other}"
        private = [part for part in other.split(".")[2:] if part.startswith("_")]
        assert not private, f"{name} imports {other}"


def test_no_circles_between_files():
    graph = {m: {o for o in imports(f) if o in MODULES} for m, f in MODULES.items()}
    # A package's face imports its files: what counts is a file that needs itself.
    graph = {m: o for m, o in graph.items() if MODULES[m].name != "__init__.py"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"circle: {' -> '.join((*path, module))}"
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_environments_import_only_urdf_and_errors():
    allowed = ("roboopt.urdf", "roboopt._errors", "roboopt._timed")
    for path in (ROOT / "envs").rglob("*.py"):
        for name in imports(path):
            assert name.startswith(allowed), f"{path.name} imports {name}"
