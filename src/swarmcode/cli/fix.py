"""`swarmcode fix`: an issue and a repository in, a proven patch out."""

import asyncio
import io
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from swarmcode import runs
from swarmcode.branch import check_branch
from swarmcode.cli.boundary import INTERRUPTED, Interrupted, crash, interruptible, say
from swarmcode.cli.deliver import Delivery, Outcome, deliver
from swarmcode.cli.models import default_model
from swarmcode.cli.order import Order, phase, prepare
from swarmcode.cli.place import folder_of, widen
from swarmcode.cli.watch import Watch, watched
from swarmcode.config import load, state_home
from swarmcode.errors import PassingFault, SuiteError, SwarmcodeError, UsageError
from swarmcode.events import RunEnded, RunStarted, Warned
from swarmcode.issue import FAILING, IssueText, read
from swarmcode.journal import Recall, recall

EPILOG = (
    "Standard output carries the patch alone, so that `swarmcode fix ... | git apply` works; all else goes to standard "
    "error. Exit codes: 0 a fix, proven on the combined tree (or --if-failing, and no test fails); 1 no fix, or only "
    "a part of one, within the budget; 2 usage; 3 something is missing here (model, sandbox, tests); 70 an error "
    "inside swarmcode; 75 a passing fault, worth retrying; 130 interrupted, can be resumed."
)


def fix(
    issue: Annotated[
        str,
        typer.Argument(
            metavar="ISSUE",
            help="What is wrong: text, a file, `-` for standard input, or a GitHub reference. "
            "May be left out with --resume and with --if-failing.",
            show_default=False,
        ),
    ] = "",
    repo: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The repository.  [default: the current folder]", show_default=False),
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="CMD", help="How its tests run.  [default: found in the project]")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="MODE", help="auto, instant, thinking, agent or swarm.  [default: auto]")
    ] = None,
    agents: Annotated[str | None, typer.Option(metavar="N", help="Agents at once, at most.  [default: 100]")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH|URL",
            help="A GGUF model, or an OpenAI-compatible endpoint, http://host:port/v1#model-name.  "
            "[default: that of `swarmcode models`, at first repair, which is built in]",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A LoRA adapter (GGUF) that is put over the model.", show_default=False),
    ] = None,
    planner_model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH|URL",
            help="Another model that splits the work, loaded only where a plan is asked for.",
            show_default=False,
        ),
    ] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="auto, docker, bwrap, or process, which isolates nothing: the tests then run as you.  [default: auto]",
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Run the tests in this Docker image, not with the host's tools.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="S", help="Seconds that the whole run may take.  [default: 600]")
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Seed of all sampling.  [default: 0]")] = None,
    reproduce: Annotated[
        str | None,
        typer.Option(
            metavar="auto|off",
            help="Where all tests pass, have the model write one that shows the fault.  [default: auto]",
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the fix into the work tree.")] = False,
    branch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Commit the fix to a new branch; the work tree stays.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there what would go to standard output.")
    ] = None,
    if_failing: Annotated[
        bool,
        typer.Option(
            "--if-failing",
            help="For hooks and CI: where all tests pass, do nothing and end with 0. Without ISSUE, the failing tests "
            "are the issue.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report instead of the patch.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on from an earlier run (an id, a piece of it, or `last`): what it judged is not judged again.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fixes what ISSUE describes and failing tests show.

    Many agents propose patches at once; each patch is tried against the tests in a sandbox; those that pass are
    combined, and the combination is proven on the whole suite. The repository is not touched unless you say so:
    --apply, --branch, or, at a terminal, when you are asked.
    """
    home = state_home(os.environ)
    delivery = Delivery(apply=apply, branch=branch or "", output=output, json=as_json)
    delivery.check()
    earlier = runs.find(home, resume) if resume is not None else None
    recalled = recall(earlier) if earlier else None
    place = folder_of(repo or (recalled.issue.repo if recalled else Path()))
    if branch is not None:
        check_branch(place, branch)
    flags = {
        "test": test,
        "mode": mode,
        "agents": agents,
        "model": model,
        "adapter": adapter,
        "planner_model": planner_model,
        "sandbox": sandbox,
        "image": image,
        "timeout": timeout,
        "seed": seed,
        "reproduce": reproduce,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    order = Order(
        config=load(given, environ=os.environ, repo=place, kept={} if model else default_model(home)),
        issue=_issue(issue, place, recalled, if_failing),
        repo=place,
        home=home,
        resumes=earlier.name if earlier else "",
        recalled=recalled,
        if_failing=if_failing,
    )
    raise typer.Exit(_run(order, delivery))


def _issue(source: str, repo: Path, recalled: Recall | None, if_failing: bool) -> IssueText:
    if source:
        return read(source, repo, sys.stdin.buffer if sys.stdin else io.BytesIO())
    if recalled is not None:
        known = recalled.issue
        return IssueText(title=known.title, text=known.text, images=known.images)
    if if_failing:
        return FAILING
    raise UsageError("there is no ISSUE", "say what is wrong: swarmcode fix 'the sum is off by one'")


def _run(order: Order, delivery: Delivery) -> int:
    """The run in its folder, and what it gave, delivered; the exit code."""
    with runs.opened(order.home, order.config.settings.state.keep) as folder:
        crash.folder = folder
        try:
            return deliver(_watched(order, folder), order.repo, delivery)
        except Interrupted as end:
            say(f"swarmcode: interrupted{end}")
            return INTERRUPTED
        finally:
            runs.remove(folder / runs.SNAPSHOT)


def _watched(order: Order, folder: Path) -> Outcome:
    """The run, with its journal and its view. What ends it early says how to go on, if one can."""
    with watched(folder, order.config.settings.swarm.timeout, order.resumes) as watch:
        for warning in order.config.warnings:
            watch.note(warning)
        try:
            return asyncio.run(interruptible(run_fix(order, folder, watch), watch.note))
        except Interrupted:
            raise Interrupted(f"; go on with: {_again(folder)}" if watch.resumable else "") from None
        except SwarmcodeError as error:
            watch.failed(error)
            if isinstance(error, SuiteError):
                widen(error, order.repo)
            if isinstance(error, PassingFault):
                error.hint = error.hint or (f"go on with: {_again(folder)}" if watch.resumable else "try again")
            raise


def _again(folder: Path) -> str:
    return f"swarmcode fix --resume {folder.name}"


async def run_fix(order: Order, folder: Path, watch: Watch) -> Outcome:
    """Builds what a run needs, what may be missing first, and tells the story with it.

    Raises what its parts raise; whatever was opened is closed by then, also where the run was cancelled.
    """
    # Here, and not above: these take most of a second to load, and `--help` needs none of them.
    from swarmcode.cli.engines import choose_model, choose_planner, open_model, tell_cost
    from swarmcode.plan import Effort
    from swarmcode.sandbox.choose import choose
    from swarmcode.sandbox.pool import Pool
    from swarmcode.solve import solve
    from swarmcode.task import Task

    started = time.monotonic()
    settings, emit = order.config.settings, watch.emit
    model = choose_model(settings.model.name, settings.model.adapter)
    planner = choose_planner(settings, watch.note)
    async with AsyncExitStack() as opened:
        with phase(emit, "sandbox"):
            sandbox = await choose(settings.sandbox.kind, run=folder.name, image=settings.sandbox.image)
            opened.push_async_callback(sandbox.close)
            await sandbox.sweep()
        if not sandbox.isolated:
            emit(Warned(message="nothing isolates the tests: they and the model's patches run as you"))
        ground = await prepare(order, folder, emit)
        pool = Pool(sandbox, ground.base, ground.toolchain, ground.limits, size=settings.sandbox.boxes or None)
        opened.push_async_callback(pool.close)
        for warning in (*model.warnings, *(planner.choice.warnings if planner else ())):
            emit(Warned(message=warning))
        with phase(emit, "model", model.name):
            engine = await open_model(model, settings, watch.note)
            opened.push_async_callback(engine.close)
        opened.callback(tell_cost, model, engine, watch.note)
        if planner:
            opened.push_async_callback(planner.close)
        watch.attach(lambda: engine.load)
        task = Task(
            run=folder.name,
            issue=ground.issue,
            snapshot=ground.snapshot,
            effort=Effort(mode=settings.swarm.mode, agents=settings.swarm.agents, protocols=engine.profile.protocols),
            limits=ground.limits,
            seconds=max(1.0, settings.swarm.timeout - (time.monotonic() - started)),
            workers=pool.size,
            seed=settings.swarm.seed,
            sandbox=sandbox.name,
            if_green="done" if order.if_failing else "write" if settings.swarm.reproduce == "auto" else "refuse",
            known_baseline=ground.recalled.baseline if ground.recalled else None,
            known_reproduction=ground.recalled.reproduction if ground.recalled else None,
            known=ground.recalled.verdicts if ground.recalled else {},
        )
        emit(
            RunStarted(
                run=folder.name,
                issue=ground.issue,
                model=engine.profile.name,
                sandbox=sandbox.name,
                agents=settings.swarm.agents,
            )
        )
        report = await solve(task, engine, pool, emit, planner)
    emit(RunEnded(report=report))
    return Outcome(report=report, snapshot=ground.snapshot)
