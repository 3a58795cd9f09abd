"""What one call of `swarmcode fix` asks for, and the ground that its run stands on: issue, snapshot, tests, tools."""

import asyncio
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from swarmcode.config import Config
from swarmcode.events import Emit, Phase, PhaseEnded, PhaseStarted, Warned
from swarmcode.flow import Issue
from swarmcode.gitdir import inside
from swarmcode.issue import IssueText
from swarmcode.journal import Recall
from swarmcode.options import Settings
from swarmcode.repo import Snapshot, take
from swarmcode.runs import SNAPSHOT
from swarmcode.sandbox.protocol import Base, Limits, Toolchain
from swarmcode.suite.detect import detect

LEFT_OUT = 5
"""Most files that are named one by one because the snapshot left them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One call."""

    issue: IssueText
    repo: Path
    """Absolute."""
    home: Path
    """The state directory."""
    config: Config
    resumes: str = ""
    """Id of the run to go on from; empty: none."""
    recalled: Recall | None = None
    """What that run knows; None where it was ended too early to know anything."""
    if_failing: bool = False
    """Tests that all pass are nothing to fix, and no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the run works on."""

    issue: Issue
    snapshot: Snapshot
    base: Base
    toolchain: Toolchain
    limits: Limits
    """Of one command."""
    recalled: Recall | None
    """What an earlier run knows of this very tree, judged by these very tests."""


async def prepare(order: Order, folder: Path, emit: Emit) -> Ground:
    """Finds the test command and takes the snapshot. Raises `UsageError`, `SuiteError` and `StateError`."""
    settings = order.config.settings
    with phase(emit, "snapshot"):
        argv = _command(order)
        toolchain, argv = _toolchain(order.repo, argv, settings.sandbox.image)
        snapshot = await asyncio.to_thread(take, order.repo, folder / SNAPSHOT, leave=(order.home,))
    for line in _left_out(snapshot):
        emit(Warned(message=line))
    text = order.issue
    issue = Issue(
        title=text.title,
        text=text.text,
        images=text.images,
        repo=order.repo,
        base=snapshot.tree,
        test=argv,
        inside=inside(order.repo),
    )
    return Ground(
        issue=issue,
        snapshot=snapshot,
        base=Base(root=snapshot.root, home=order.repo),
        toolchain=toolchain,
        limits=_limits(settings),
        recalled=_fitting(order, issue, emit),
    )


def _limits(settings: Settings) -> Limits:
    """Of one run of the tests. It gets no more than half of the whole time: else none would be left for a fix."""
    limits = Limits(**asdict(settings.sandbox.limits))
    return replace(limits, seconds=min(limits.seconds, settings.swarm.timeout / 2))


def _command(order: Order) -> tuple[str, ...]:
    """The test command. Going on from a run it is that run's, with the very program that was found then, unless the
    command line names another."""
    config, earlier = order.config, order.recalled
    if earlier is None or config.sources["test"].origin == "flag":
        return detect(order.repo, config.settings.suite.command or None).argv
    program, *rest = earlier.issue.test
    if config.settings.sandbox.image and program.startswith("/"):  # the host's; an image has programs of its own
        return detect(order.repo, shlex.join((Path(program).name, *rest))).argv
    old = earlier.issue.repo
    if Path(program).is_relative_to(old):  # the repository may have been moved
        program = str(order.repo / Path(program).relative_to(old))
    return program, *rest


def _toolchain(repo: Path, argv: tuple[str, ...], image: str) -> tuple[Toolchain, tuple[str, ...]]:
    """An image brings its own programs; else they are the host's."""
    from swarmcode.sandbox.toolchain import discover
    from swarmcode.suite import probe  # loads pydantic, which `--help` need not wait for

    if image:
        return Toolchain(path=(), mounts=(probe.folder(),)), argv
    toolchain, argv = discover(repo, argv, os.environ)
    return replace(toolchain, mounts=(*toolchain.mounts, probe.folder())), argv


def _left_out(snapshot: Snapshot) -> Iterator[str]:
    for line in snapshot.skipped[:LEFT_OUT]:
        yield f"left out: {line}"
    if len(snapshot.skipped) > LEFT_OUT:
        yield f"left out: {len(snapshot.skipped) - LEFT_OUT} more"


def _fitting(order: Order, issue: Issue, emit: Emit) -> Recall | None:
    if not order.resumes:
        return None
    if order.recalled is not None and order.recalled.suits(issue):
        return order.recalled
    why = "the tree or the test command is another now" if order.recalled else "it was ended before it knew anything"
    emit(Warned(message=f"nothing of run {order.resumes} can be used: {why}"))
    return None


@contextmanager
def phase(emit: Emit, name: Phase, detail: str = "") -> Iterator[None]:
    """Tells when a phase begins, and how long it took."""
    started = time.monotonic()
    emit(PhaseStarted(phase=name, detail=detail))
    yield
    emit(PhaseEnded(phase=name, seconds=time.monotonic() - started, detail=detail))
