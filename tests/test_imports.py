"""Imports point one way, as the design draws it, and importing the package does nothing."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import swarmcode

PACKAGE = Path(swarmcode.__file__).parent

LAYERS = (
    ("flow", "errors", "assets"),
    ("events", "settings", "options", "config", "codec"),
    ("engine", "sandbox", "dialect"),
    ("tree", "roles", "syntax", "unified", "sections", "gitdir", "worktree"),
    ("issue", "repo", "branch", "diff", "prompts", "localise", "suite", "agent"),
    ("serve",),
    ("route", "plan", "docket", "swarm", "judge", "merge", "reproduce"),
    ("task", "ledger", "solve"),
    ("runs", "journal", "report"),
    ("cli",),
)
"""From the bottom up: a room may import from lower layers, and from rooms beside it without a cycle."""

STAGES = ("plan", "swarm", "judge", "merge")
ONLY_IN = {
    "llama_cpp": "engine/llama/library.py",
    "llguidance": "engine/llama/grammar.py",
    "docker": "sandbox/daemon.py",
    "git": "gitdir.py",
    "huggingface_hub": "engine/hub.py",
    "httpx": "engine/remote/client.py",
    "tenacity": "engine/remote/engine.py",
    "tree_sitter_language_pack": "syntax.py",
    "uvicorn": "serve/run.py",
    "prometheus_client": "serve/metrics.py",
}


@cache
def rooms() -> dict[str, Path]:
    """Module name -> file."""
    files = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


@cache
def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def own(path: Path) -> set[str]:
    names = {name.removeprefix("swarmcode.") for name in imported(path) if name.startswith("swarmcode.")}
    return {name for name in names if name in rooms()}


def layer(module: str) -> int:
    room = module.split(".")[0]
    return next(number for number, names in enumerate(LAYERS) if room in names)


def test_every_module_has_a_layer() -> None:
    """A new room is given its place in the design before it is used."""
    placed = {name for names in LAYERS for name in names}
    assert {module.split(".")[0] for module in rooms()} <= placed


def test_no_module_imports_from_a_higher_layer() -> None:
    """What stands lower never knows what stands above it."""
    wrong = [
        f"{module} -> {target}"
        for module, path in rooms().items()
        for target in own(path)
        if layer(target) > layer(module)
    ]
    assert not wrong


def test_no_cycles() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    TopologicalSorter({module: own(path) - {module} for module, path in rooms().items()}).prepare()


def test_stages_do_not_import_each_other() -> None:
    """Only `solve` knows the order of the stages."""
    for stage in STAGES:
        others = set(STAGES) - {stage}
        assert not own(PACKAGE / f"{stage}.py") & others, stage


def test_outside_libraries_have_one_caller() -> None:
    """llama.cpp, Docker and git are each known to a single file."""
    for library, home in ONLY_IN.items():
        users = {
            path.relative_to(PACKAGE).as_posix()
            for path in rooms().values()
            if any(name.split(".")[0] == library for name in imported(path))
        }
        assert users == {home}


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything and keeps it: clean-up that raises again is none."""
    catches_all = handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )
    last = handler.body[-1]
    return catches_all and not (isinstance(last, ast.Raise) and last.exc is None)


def test_broad_except_stands_in_one_place() -> None:
    """Only the boundary of one attempt catches everything."""
    broad = [
        module
        for module, path in rooms().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and is_broad(node)
    ]
    assert broad == ["swarm"]


def test_importing_does_nothing() -> None:
    """`import swarmcode` prints nothing and loads neither llama.cpp nor Docker nor tree-sitter."""
    code = (
        "import swarmcode, sys; print([m for m in ('llama_cpp', 'docker', 'tree_sitter', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
