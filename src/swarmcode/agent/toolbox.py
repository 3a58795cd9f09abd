"""What happens when an agent calls a tool: each call gives one text, and whatever is wrong is told in it.

Calls and their arguments are untrusted. Results are bounded; tests run in the judge's boxes, by its limits, and nothing
of the engine is held meanwhile.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from swarmcode.agent import look
from swarmcode.agent.blocks import by_lines
from swarmcode.agent.overlay import Overlay, Refused
from swarmcode.agent.tools import TOOLS
from swarmcode.dialect.fit import misfit
from swarmcode.dialect.messages import Call
from swarmcode.flow import Changes, SuiteRun, TestResult
from swarmcode.syntax import first_error
from swarmcode.unified import lines_of

RunTests = Callable[[Changes, Sequence[str]], Awaitable[SuiteRun]]
"""Runs tests on the base tree with some changes: those named, or all where none is. Raises `SandboxLost`."""
MOST_CHARACTERS = 16_000
"""Of a result."""
AROUND = 4
"""Lines shown before and after an edit."""
FAILURES = 8
MESSAGE = 1_500
"""Characters that are shown of a failing test's message."""


class Toolbox:
    """The tools of one agent, on its own tree."""

    def __init__(self, overlay: Overlay, run_tests: RunTests, failing: Sequence[str]) -> None:
        self._overlay = overlay
        self._run_tests = run_tests
        self._failing = tuple(failing)
        self._passed = -1
        self._made: set[tuple[str, str, int]] = set()
        self.submitted = False
        """Whether the work was ended."""
        self.repeats = 0
        """Calls in a row that had been made before on the very same tree."""

    @property
    def proven(self) -> bool:
        """Whether the failing tests pass on the tree as it is now."""
        return self._passed == self._overlay.version

    async def use(self, call: Call) -> str:
        """What a call gives. Raises `SandboxLost`."""
        if wrong := misfit(call, TOOLS):
            return wrong
        made = (call.name, json.dumps(call.arguments, sort_keys=True), self._overlay.version)
        if made in self._made:
            self.repeats += 1
            return "You have made this very call before, and nothing has changed since: do something else."
        self._made.add(made)
        self.repeats = 0
        try:
            return _bounded(await self._used(call))
        except Refused as error:
            return str(error)

    async def _used(self, call: Call) -> str:
        """`misfit` has seen to names and types."""
        given = call.arguments
        match call.name:
            case "view":
                return look.lines(self._overlay.text(given["path"]), given.get("start", 1), given.get("end", 0))
            case "list":
                return look.entries(self._overlay.path(given.get("path", "")), self._overlay.files)
            case "search":
                # Reading a whole repository takes time: not in the event loop.
                return await asyncio.to_thread(look.search, given["text"], self._texts(given.get("path", "")))
            case "strreplace":
                text, line = _replaced(given["path"], self._overlay.text(given["path"]), given["old"], given["new"])
                return self._written(given["path"], text, line)
            case "insert":
                text = _inserted(given["path"], self._overlay.text(given["path"]), given["line"], given["text"])
                return self._written(given["path"], text, given["line"] + 1)
            case "createfile":
                return self._written(given["path"], given["text"], 1, new=True)
            case "run_tests":
                return await self._tested(everything=given.get("all", False))
            case _:
                return self._submit()

    def _texts(self, within: str) -> Iterator[tuple[str, str]]:
        folder = self._overlay.path(within)
        for path in sorted(self._overlay.files):
            if not folder or path == folder or path.startswith(folder + "/"):
                try:
                    yield path, self._overlay.text(path)
                except Refused:
                    continue  # no text, or too large

    def _written(self, told: str, text: str, line: int, *, new: bool = False) -> str:
        """Puts a file; what stands around `line` afterwards, and where its syntax is broken."""
        path = self._overlay.write(told, text, new=new)
        shown = look.lines(text, line - AROUND, line + AROUND + 10)
        broken = first_error(path, text.encode(errors="replace"))
        flaw = f"\nLine {broken} of it breaks the syntax: mend that." if broken is not None else ""
        return f"Done. {path} now:\n{shown}{flaw}"

    async def _tested(self, *, everything: bool) -> str:
        version = self._overlay.version
        run = await self._run_tests(self._overlay.changes, () if everything else self._failing)
        if run.outcome == "finished" and run.passing.issuperset(self._failing) and not (run.failing and everything):
            self._passed = version
        return "\n".join(_told(run))

    def _submit(self) -> str:
        if not self._overlay.diff:
            return "There is nothing to submit: no file differs from what it was."
        self.submitted = True
        return "Submitted."


def _replaced(path: str, text: str, old: str, new: str) -> tuple[str, int]:
    """The text with its one place of `old` replaced, and the line of that place. Raises `Refused`."""
    if not old.strip():
        raise Refused("The old text is empty; to add lines, use insert.")
    if "\r\n" in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    count = text.count(old)
    if count == 1:
        return text.replace(old, new, 1), text[: text.index(old)].count("\n") + 1
    if count > 1:
        raise Refused(f"The old text stands {count} times in {path}; give more lines around it.")
    ended = new if new.endswith("\n") or not new else new + ("\r\n" if "\r\n" in text else "\n")
    changed, found = by_lines(text, old, ended)
    if found != 1:
        often = f"stands {found} times" if found else "does not stand"
        raise Refused(f"The old text {often} in {path}; copy it exactly as view shows it, without line numbers.")
    same = next((place for place, pair in enumerate(zip(text, changed, strict=False)) if pair[0] != pair[1]), 0)
    return changed, text[:same].count("\n") + 1


def _inserted(path: str, text: str, line: int, new: str) -> str:
    """Raises `Refused`."""
    every = lines_of(text)
    if not 0 <= line <= len(every):
        raise Refused(f"{path} has {len(every)} lines; insert behind one of them, or behind 0.")
    end = "\r\n" if "\r\n" in text else "\n"
    added = new.replace("\r\n", "\n").removesuffix("\n").replace("\n", end) + end
    before = every[:line]
    if before and not before[-1].endswith("\n"):
        before[-1] += end
    return "".join([*before, added, *every[line:]])


def _told(run: SuiteRun) -> Iterator[str]:
    """A run, for a model."""
    failing = [test for test in run.tests.values() if test.outcome in ("failed", "error")]
    if run.outcome != "finished":
        yield f"The tests did not run to their end ({run.outcome}): {run.complaint}"
    else:
        yield f"{len(run.passing)} passed, {len(failing)} failed."
    for test in failing[:FAILURES]:
        yield from _failure(test)
    if len(failing) > FAILURES:
        yield f"({len(failing) - FAILURES} more failures are left out)"
    if run.outcome != "finished" or not run.tests:
        yield run.output[-MESSAGE:].strip()


def _failure(test: TestResult) -> Iterable[str]:
    yield f"FAILED {test.id}: {test.message[:MESSAGE]}"
    for frame in test.frames[-5:]:
        yield f"    {frame.path}:{frame.line} in {frame.function}"


def _bounded(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n({len(text) - MOST_CHARACTERS:,} characters are left out)"
