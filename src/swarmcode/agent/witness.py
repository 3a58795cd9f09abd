"""What a run says of a test that was just written: does it show a fault, or is it wrong itself. Pure.

Guarded here: a test that passes, that cannot be collected, that stumbles over its own names, or that fails without ever
running the project's code, shows nothing. Not covered: whether what it expects is what the issue means.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from swarmcode.diff import is_test_file
from swarmcode.flow import TestResult
from swarmcode.suite.run import Traced
from swarmcode.tree import Tree

_OWN_ERRORS = frozenset({"NameError", "UnboundLocalError", "SyntaxError", "IndentationError", "TabError"})
_UNWRITTEN = frozenset({"ImportError", "ModuleNotFoundError", "AttributeError", "TypeError"})
"""Errors of a test that uses what is still to be written: there is nothing of the project to be run yet."""
_MESSAGE = 1_500
"""Characters of a failure that are told."""


class Unfit(ValueError):  # it is an answer to the model, not an error of the program
    """Why a test shows nothing: sentences for the model that wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A test file that fails on the code as it is, in a way in which a fault would make it fail."""

    tests: tuple[str, ...]
    """Ids of the tests that fail."""
    manner: str
    """The errors, and where in the project they are raised: equal for tests that fail in the same manner."""


def witness(traced: Traced, path: str, tree: Tree) -> Witness:
    """What a traced run of the new test file `path` on `tree` says. Raises `Unfit`."""
    run = traced.run
    if run.outcome != "finished":
        raise Unfit(f"it does not run to its end: {run.complaint}.")
    results = [test for test in run.tests.values() if test.id.split("::", 1)[0] == path]
    for result in results:
        if result.outcome == "error":
            raise Unfit(f"{result.id} cannot be run:\n{result.message[:_MESSAGE]}")
    failing = [test for test in results if test.outcome == "failed"]
    if not failing:
        how = "every test in it passes on the code as it is" if results else "it holds no test"
        raise Unfit(f"{how}, so it does not show the fault.")
    for test in failing:
        _insist(test, traced.covered.get(test.id, {}), path, tree)
    manner = "; ".join(sorted({_manner(test, path) for test in failing}))
    return Witness(tests=tuple(test.id for test in failing), manner=manner)


def _insist(test: TestResult, covered: Iterable[str], path: str, tree: Tree) -> None:
    """Raises `Unfit` where the failure is the test's own."""
    own = not test.frames or test.frames[-1].path == path
    kind = _kind(test)
    foreign = kind == "ModuleNotFoundError" and not _of_project(test, tree)
    if own and (kind in _OWN_ERRORS or foreign):
        raise Unfit(f"{test.id} is wrong itself:\n{test.message[:_MESSAGE]}")
    if kind not in _UNWRITTEN and not any(file in tree.files and not is_test_file(file) for file in covered):
        raise Unfit(f"{test.id} fails without running any code of the repository:\n{test.message[:_MESSAGE]}")


def _kind(test: TestResult) -> str:
    """Name of the error's class; pytest leaves out that of a plain `assert`."""
    name = test.message.split("\n", 1)[0].split(":", 1)[0].rpartition(".")[2].strip()
    return name if name.isidentifier() else "AssertionError"


def _of_project(test: TestResult, tree: Tree) -> bool:
    """Whether the module that is missing would be one of the repository's packages."""
    top = test.message.partition("'")[2].partition("'")[0].split(".")[0]
    return bool(top) and any(top in file.removesuffix(".py").split("/") for file in tree.files)


def _manner(test: TestResult, path: str) -> str:
    place = next((f"{frame.path}:{frame.function}" for frame in reversed(test.frames) if frame.path != path), "")
    return f"{_kind(test)} in {place}" if place else _kind(test)
