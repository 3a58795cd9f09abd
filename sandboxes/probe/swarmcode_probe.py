"""Reports on a pytest run from the inside, as records and not as text: a pytest plugin for the boxes tests run in.

It is loaded through the environment (`PYTEST_PLUGINS=swarmcode_probe`, its folder on `PYTHONPATH`), so it also loads
below `make test` or any other wrapper, and it needs nothing but pytest 6 or later on Python 3.8 or later.
`SWARMCODE_PROBE` names a request, a JSON object; beside it lies the report, one JSON object a line:

    open     this session, its pytest and Python
    collect  a file that could not be collected (or, where it was asked for, that could)
    plan     how many tests will run, and which of those asked for are not there
    start    a test begins
    test     a test ended: outcome over set-up, call and tear-down, seconds, message, frames, lines that ran
    close    the session ended: exit status, number of tests, whether the request stopped it early
    seal     keyed digest of all lines before it

Every line carries the id of its session, because one command may run pytest several times. A session without its
`close` and a right `seal` did not end by itself, whatever its exit code says.

Covered: a test that ends the process (`os._exit`, a crash), a session that ends early, a report that is cut, deleted,
overwritten or made up by someone who does not know the key. Not covered: code that searches this very process for the
probe and speaks in its name, or that changes pytest itself; nothing in the same process can be guarded against that.

Where `SWARMCODE_WARM` names a socket, the runner does not run: once pytest and its plugins are loaded, and before
anything of the project is, it says `ready` and waits for jobs; each is run by a copy of the process. A runner that has
loaded code of the project by then ends instead, because its copies would not see that code change.

Test outcomes are left alone, but for a test that does not end: the request may limit the seconds of each, and such a
test fails where it hangs, with that stack, instead of taking the whole run with it. What would keep the report from
being whole is switched off: stopping after n failures, running the last failures only, distribution over processes,
random order, coverage measurement by others.

(PYTEST_DONT_REWRITE: there are no assertions here, and rewriting would cost each run some milliseconds.)
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.machinery
import json
import os
import signal
import struct
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.assertion import rewrite

if TYPE_CHECKING:  # what stands here may be newer than the Python that runs the probe
    from collections.abc import Callable, Generator, Iterable
    from types import CodeType, FrameType, TracebackType

    Frames = list[tuple[str, int, str]]
    Lines = dict[str, set[int]]
    Hook = Generator[None, Any, None]

ME = "swarmcode_probe"
MESSAGE_CHARS = 2000
FRAMES = 64
PYTEST = tuple(int(part) for part in pytest.__version__.split(".")[:2])


def _take(name: str) -> str:
    """Reads a variable and removes it, so that processes which tests start are not taken for the suite."""
    return os.environ.pop(name, "")


def _without_me(name: str, separator: str, mine: str) -> None:
    """Gives a variable back as the user had it."""
    rest = [part for part in os.environ.get(name, "").split(separator) if part != mine]
    if any(rest):
        os.environ[name] = separator.join(rest)
    else:
        os.environ.pop(name, None)


REQUEST = _take("SWARMCODE_PROBE")
WARM = _take("SWARMCODE_WARM")
ROOT = os.path.realpath(_take("SWARMCODE_ROOT") or os.getcwd())
_FOLDER = os.path.dirname(__file__)
_without_me("PYTEST_PLUGINS", ",", ME)
_without_me("PYTHONPATH", os.pathsep, _FOLDER)
if _FOLDER in sys.path:
    sys.path.remove(_FOLDER)


class Report:
    """The file that is written, line by line; each line is on disk before the next test begins."""

    def __init__(self, path: str, key: str) -> None:
        self._path = path
        self._session = os.urandom(8).hex()
        self._pid = os.getpid()
        self._seal = hashlib.blake2b(key=bytes.fromhex(key), digest_size=16)

    def write(self, kind: str, **fields: object) -> None:
        if os.getpid() != self._pid:
            return  # a fork that a test made
        record = {"kind": kind, "session": self._session, **fields}
        line = (json.dumps(record, separators=(",", ":")) + "\n").encode()
        self._seal.update(line)
        self._append(line)

    def seal(self) -> None:
        self.write("seal", digest=self._seal.hexdigest())

    def _append(self, line: bytes) -> None:
        # Opened anew each time: a test may close every descriptor that it finds.
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError:
            return  # the seal will tell
        try:
            os.write(descriptor, line)
        except OSError:
            pass  # a full disk: the seal will tell
        finally:
            os.close(descriptor)


class Tree:
    """Which source files belong to the project, by the names that code objects bear."""

    def __init__(self, root: str) -> None:
        self._root = root + os.sep
        self._start = os.getcwd()
        prefixes = {os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)}
        self._foreign = tuple(prefix + os.sep for prefix in prefixes if prefix.startswith(self._root))
        self._known: dict[str, str | None] = {}

    def relative(self, name: str) -> str | None:
        """POSIX path below the root; None for what is outside, installed, or no file at all."""
        try:
            return self._known[name]
        except KeyError:
            found = self._known[name] = self._find(name)
            return found

    def _find(self, name: str) -> str | None:
        if not name or name.startswith("<"):
            return None
        path = os.path.realpath(os.path.join(self._start, name))
        if not path.startswith(self._root) or path.startswith(self._foreign):
            return None
        parts = path[len(self._root) :].split(os.sep)
        return None if "site-packages" in parts or "dist-packages" in parts else "/".join(parts)


class SetTrace:
    """Lines that run, through `sys.settrace`: frames outside the project cost one look-up each."""

    def __init__(self, tree: Tree) -> None:
        self._relative = tree.relative
        self._lines: Lines = {}
        self._locals: dict[str, Callable[..., Any]] = {}
        self._before: tuple[Any, Any] = (None, None)

    def begin(self) -> None:
        self._lines = {}
        self._locals = {}

    def resume(self) -> None:
        self._before = sys.gettrace(), getattr(threading, "_trace_hook", None)
        threading.settrace(self._call)
        sys.settrace(self._call)

    def pause(self) -> None:
        sys.settrace(self._before[0])
        threading.settrace(self._before[1])

    def end(self) -> Lines:
        lines, self._lines = self._lines, {}
        return lines

    def close(self) -> None:
        """Nothing is held."""

    def _call(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        path = self._relative(frame.f_code.co_filename)
        return None if path is None else self._locals.get(path) or self._local(path)

    def _local(self, path: str) -> Callable[..., Any]:
        add = self._lines.setdefault(path, set()).add

        def local(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
            if event == "line":
                add(frame.f_lineno)
            return local

        self._locals[path] = local
        return local


class Monitoring:
    """Lines that run, through `sys.monitoring` (Python 3.12): each line of the project costs one call a test."""

    def __init__(self, tree: Tree, monitoring: Any, tool: int) -> None:
        self._relative = tree.relative
        self._lines: Lines = {}
        self._tool = tool
        self._on = False
        self._monitoring = monitoring
        monitoring.use_tool_id(tool, ME)
        monitoring.register_callback(tool, monitoring.events.PY_START, self._started)
        monitoring.register_callback(tool, monitoring.events.PY_RESUME, self._started)
        monitoring.register_callback(tool, monitoring.events.LINE, self._line)

    def begin(self) -> None:
        self._lines = {}
        self._monitoring.restart_events()

    def resume(self) -> None:
        self._on = True
        events = self._monitoring.events
        self._monitoring.set_events(self._tool, events.PY_START | events.PY_RESUME)

    def pause(self) -> None:
        self._on = False
        self._monitoring.set_events(self._tool, 0)

    def end(self) -> Lines:
        lines, self._lines = self._lines, {}
        return lines

    def close(self) -> None:
        self._monitoring.free_tool_id(self._tool)

    def _started(self, code: CodeType, offset: int) -> object:
        if self._relative(code.co_filename) is not None:
            self._monitoring.set_local_events(self._tool, code, self._monitoring.events.LINE)
        return self._monitoring.DISABLE

    def _line(self, code: CodeType, line: int) -> object:
        if not self._on:
            return None
        path = self._relative(code.co_filename)
        if path is not None:
            self._lines.setdefault(path, set()).add(line)
        return self._monitoring.DISABLE


def _tracer(tree: Tree) -> Any:
    monitoring = getattr(sys, "monitoring", None)
    free = [tool for tool in (4, 3, 5, 2) if monitoring is not None and monitoring.get_tool(tool) is None]
    return Monitoring(tree, monitoring, free[0]) if free else SetTrace(tree)


class Trace:
    """Lines of one test after another, until the time is spent."""

    def __init__(self, tree: Tree, seconds: float) -> None:
        self._tracer = _tracer(tree)
        self._seconds = seconds
        self._clock = time.perf_counter  # held here, out of reach of libraries that freeze time
        self._since = 0.0
        self._active = False
        self._running = False

    def begin(self) -> None:
        self._active = self._seconds > 0
        self._since = self._clock()
        if self._active:
            self._tracer.begin()

    def resume(self) -> None:
        if self._active and not self._running:
            self._running = True
            self._tracer.resume()

    def pause(self) -> None:
        if self._running:
            self._running = False
            self._tracer.pause()

    def leave_out(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; what runs below it is not traced."""

        def untraced(*arguments: Any, **named: Any) -> Any:
            running = self._running
            self.pause()
            try:
                return call(*arguments, **named)
            finally:
                if running:
                    self.resume()

        return untraced

    def end(self) -> dict[str, list[tuple[int, int]]] | None:
        """Path -> ranges of lines, first and last; None where the test was not traced."""
        if not self._active:
            return None
        self._active = False
        self._seconds -= self._clock() - self._since
        return {path: _ranges(lines) for path, lines in self._tracer.end().items() if lines}

    def close(self) -> None:
        self._tracer.close()


class Guard:
    """Ends a phase of a test that takes too long, by a failure where it stands. Each one halves the time of the next.

    It stands back where the project uses the alarm itself. Code that never returns to Python is out of its reach.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def enter(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        if self._seconds and main and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def leave(self) -> None:
        if signal.getsignal(signal.SIGALRM) == self._ring:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        seconds, self._seconds = self._seconds, self._seconds / 2
        pytest.fail(f"no end after {seconds:.3g} s")


def _ranges(lines: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for line in sorted(lines):
        if ranges and ranges[-1][1] == line - 1:
            ranges[-1] = (ranges[-1][0], line)
        else:
            ranges.append((line, line))
    return ranges


class Failures:
    """What went wrong in one test or file, taken from the exceptions themselves."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def describe(self, excinfo: Any, longrepr: object) -> tuple[str, Frames]:
        if excinfo is None:
            return _short(str(longrepr)), []
        value = _unwrapped(excinfo.value)
        return _message(value, longrepr), self._frames(value)

    def _frames(self, value: BaseException) -> Frames:
        frames: Frames = []
        seen: set[int] = set()
        link: BaseException | None = value
        while link is not None and id(link) not in seen and len(seen) < 8:
            seen.add(id(link))
            frames += self._stack(link.__traceback__)
            frames += self._place(link)
            link = _deeper(link)
        return frames if len(frames) <= FRAMES else frames[: FRAMES // 4] + frames[-FRAMES * 3 // 4 :]

    def _stack(self, stack: TracebackType | None) -> Frames:
        frames = []
        while stack is not None:
            code = stack.tb_frame.f_code
            path = self._tree.relative(code.co_filename)
            if path is not None:
                frames.append((path, stack.tb_lineno, code.co_name))
            stack = stack.tb_next
        return frames

    def _place(self, value: Any) -> Frames:
        """The place that an exception names beside its stack: of a syntax error, of a failed doctest."""
        if isinstance(value, SyntaxError):
            name, line, function = value.filename, value.lineno, "<module>"
        elif hasattr(value, "example") and hasattr(value, "test"):
            name, line = value.test.filename, (value.test.lineno or 0) + value.example.lineno + 1
            function = str(value.test.name)
        else:
            return []
        path = self._tree.relative(name) if isinstance(name, str) else None
        return [(path, line, function)] if path is not None and isinstance(line, int) and line > 0 else []


def _unwrapped(value: BaseException) -> BaseException:
    """The exception that matters inside one that only carries it."""
    if isinstance(value, pytest.Collector.CollectError) and value.__cause__ is not None:
        return value.__cause__
    doctests = getattr(value, "failures", None)
    return doctests[0] if isinstance(doctests, list) and doctests else value


def _deeper(value: BaseException) -> BaseException | None:
    """The exception that explains this one, if there is one.

    An exception that merely was in handling explains nothing, unless the handler itself raised this one.
    """
    if value.__cause__ is not None:
        return value.__cause__
    inner = getattr(value, "exceptions", None) or getattr(value, "exc_info", ())[1:2]  # of a group, of a doctest
    if isinstance(inner, tuple) and inner and isinstance(inner[0], BaseException):
        return inner[0]
    if value.__suppress_context__ or value.__context__ is None or value.__context__.__traceback__ is None:
        return None
    last = value.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return value.__context__ if last is not None and last.tb_frame is value.__context__.__traceback__.tb_frame else None


def _message(value: BaseException, longrepr: object) -> str:
    pytests_own = getattr(longrepr, "errorstring", None)  # on a fixture that is not there
    if isinstance(pytests_own, str):
        return _short(pytests_own.strip().split("\n")[0])
    if hasattr(value, "example"):  # a doctest's exception carries no text
        return _short(str(longrepr))
    return _short("".join(traceback.format_exception_only(type(value), value)))


def _short(text: str) -> str:
    text = text.strip().encode("utf-8", "backslashreplace").decode()
    if len(text) <= MESSAGE_CHARS:
        return text
    return text[: MESSAGE_CHARS * 2 // 3] + "\n...\n" + text[-MESSAGE_CHARS // 3 :]


class Current:
    """The test that is running."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.outcome = "passed"
        self.seconds = seconds
        self.said: tuple[str, Frames] | None = None

    @property
    def failing(self) -> bool:
        return self.outcome in ("failed", "error")

    def add(self, report: Any) -> None:
        """A later phase never improves the outcome; an expected failure, met or not, says nothing and is a skip."""
        self.seconds += getattr(report, "duration", 0.0)
        if report.failed:
            self.outcome = "failed" if report.when == "call" or self.outcome == "failed" else "error"
        elif self.outcome == "passed" and (report.skipped or hasattr(report, "wasxfail")):
            self.outcome = "skipped"


class Probe:
    """The plugin's hooks, for the one session that it was loaded for."""

    def __init__(self, request: dict[str, Any], report: Report, config: Any) -> None:
        self._report = report
        self._tree = Tree(ROOT)
        self._failures = Failures(self._tree)
        self._select: set[str] = set(request["select"])
        self._files = {name.split("::", 1)[0] + "/" for name in self._select}
        self._first: list[str] = request["first"]
        self._deselect: set[str] = set(request["deselect"])
        self._stop_on_any: bool = request["stop_on"] == "any"
        self._stop_on: set[str] = set() if self._stop_on_any else set(request["stop_on"])
        self._asked = self._select | set(self._first) | self._stop_on
        self._trace = Trace(self._tree, request["trace_seconds"]) if request["trace"] else None
        if self._trace:
            _leave_out_explaining(self._trace)
        self._guard = Guard(request["test_seconds"])
        self._terse: bool = request["terse"]
        self._rename = _renaming(os.path.realpath(str(getattr(config, "rootpath", None) or config.rootdir)))
        self._current = Current()
        self._collected: set[str] = set()
        self._planned = -1
        self._done = 0
        self._stopped = False
        self._session: Any = None

    # What the user's own options must not do.

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: Any) -> Hook:
        whole: dict[str, Any] = {
            **{"maxfail": 0, "continue_on_collection_errors": True, "usepdb": False},
            **dict.fromkeys(("lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip"), False),
            **{"numprocesses": None, "dist": "no", "tx": [], "looponfail": False, "forked": False},
            **{"randomly_reorganize": False, "randomly_seed": 0, "random_order_bucket": "none"},
        }
        if self._terse:
            whole["tbstyle"] = "no"
        for name, value in whole.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        yield

    # Collection.

    def pytest_sessionstart(self, session: Any) -> None:
        self._session = session

    def _unwanted(self, path: str) -> bool | None:
        if not self._select or os.path.basename(path) == "__init__.py":
            return None
        place = os.path.relpath(os.path.realpath(path), ROOT).replace(os.sep, "/")
        if place == "." or place.startswith("../"):
            return None
        near = any(name.startswith(place + "/") or (place + "/").startswith(name) for name in self._files)
        return None if near else True

    # First, because a project's own hook that answers "no, not ignored" would be the last word.
    if PYTEST >= (7, 0):

        @pytest.hookimpl(tryfirst=True)
        def pytest_ignore_collect(self, collection_path: Any) -> bool | None:
            return self._unwanted(str(collection_path))

    else:

        @pytest.hookimpl(tryfirst=True)
        def pytest_ignore_collect(self, path: Any) -> bool | None:  # type: ignore[misc]
            return self._unwanted(str(path))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_make_collect_report(self, collector: Any) -> Hook:
        outcome = yield
        report = outcome.get_result()
        name = self._rename(collector.nodeid)
        if report.failed:
            excinfo = getattr(report.__dict__.get("call"), "excinfo", None)
            message, frames = self._failures.describe(excinfo, report.longrepr)
            self._report.write("collect", id=name, outcome="error", message=message, frames=frames)
            self._note_failure(name)
        elif report.passed and name in self._asked:
            self._collected.add(name)
            self._report.write("collect", id=name, outcome="passed", message="", frames=[])

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> Hook:
        yield  # what others put out of order is put in order afterwards
        names = {id(item): self._rename(item.nodeid) for item in items}
        keep = [item for item in items if self._wanted(names[id(item)]) and not self._stopped]
        kept = set(map(id, keep))
        gone = [item for item in items if id(item) not in kept]
        if gone:
            config.hook.pytest_deselected(items=gone)
        rank = {name: place for place, name in enumerate(self._first)}
        keep.sort(key=lambda item: rank.get(names[id(item)], len(rank)))
        items[:] = keep
        self._planned = len(items)
        unknown = sorted(self._asked - set(names.values()) - self._collected)
        self._report.write("plan", tests=self._planned, unknown=unknown)

    def _wanted(self, name: str) -> bool:
        if name in self._deselect:
            return False
        # A file that was asked for by its own id stands for all its tests.
        return not self._select or name in self._select or name.split("::", 1)[0] in self._select

    # Tests.

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Hook:
        name = self._rename(item.nodeid)
        self._current = Current()
        self._report.write("start", id=name)
        if self._trace:
            self._trace.begin()
        outcome = yield
        lines = self._trace.end() if self._trace else None
        if outcome.excinfo is not None:
            return  # the session is being ended from within
        test = self._current
        message, frames = test.said if test.said and test.failing else ("", [])
        ended = {"outcome": test.outcome, "seconds": round(test.seconds, 6), "message": message, "frames": frames}
        self._report.write("test", id=name, lines=lines, **ended)
        self._done += 1
        if test.failing:
            self._note_failure(name)

    def _note_failure(self, name: str) -> None:
        if self._stop_on_any or name in self._stop_on:
            self._stopped = True
            self._session.shouldfail = f"stopped as asked: {name} failed"

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self) -> Hook:
        yield from self._phase()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self) -> Hook:
        yield from self._phase()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self) -> Hook:
        yield from self._phase()

    def _phase(self) -> Hook:
        """Each phase is guarded and traced by itself; pytest's own work in between is not looked at."""
        self._guard.enter()
        if self._trace:
            self._trace.resume()
        yield
        if self._trace:
            self._trace.pause()
        self._guard.leave()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: Any) -> Hook:
        outcome = yield
        report = outcome.get_result()
        if report.failed and self._current.said is None:
            self._current.said = self._failures.describe(call.excinfo, report.longrepr)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome == "rerun":  # a plugin tries the test again: only the last try counts
            self._current = Current(self._current.seconds)
        else:
            self._current.add(report)

    # The end.

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        # Its summary imports all of hypothesis, which takes a second, also where no test has used it.
        if "hypothesis" not in sys.modules and session.config.pluginmanager.has_plugin("hypothesispytest"):
            session.config.pluginmanager.unregister(name="hypothesispytest")

    def pytest_unconfigure(self) -> None:
        status = -1 if self._session is None else int(self._session.exitstatus)
        self._report.write("close", exit=status, planned=self._planned, done=self._done, stopped=self._stopped)
        self._report.seal()
        if self._trace:
            self._trace.close()


def _leave_out_explaining(trace: Trace) -> None:
    """How pytest words a failed assertion calls the project's `__repr__` and `__eq__`: lines that only failing tests
    run, and that no fault is in."""
    for name in ("_saferepr", "_call_reprcompare", "_format_assertmsg", "_should_repr_global_name"):
        call = getattr(rewrite, name, None)
        if call is not None:
            setattr(rewrite, name, trace.leave_out(call))


def _renaming(rootdir: str) -> Callable[[str], str]:
    """Node ids are relative to pytest's root directory; reports speak of the project's root."""
    below = os.path.relpath(rootdir, ROOT).replace(os.sep, "/")
    if below == ".":
        return _clean
    if not below.startswith(".."):
        return lambda name: _clean(f"{below}/{name}")
    above = os.path.relpath(ROOT, rootdir).replace(os.sep, "/") + "/"
    return lambda name: _clean(name[len(above) :] if name.startswith(above) else name)


def _clean(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


class Compiled:
    """Code of the project's files by path and content, so that copies need not compile what others have compiled.

    Copies name the files that they had to compile; that is hearsay, and no more comes of it than that the file which
    lies there is compiled, not run. What is loaded is what the same bytes at the same path always give.
    """

    LONGEST, MOST_FILES, LARGEST = 1 << 16, 1000, 1 << 20

    def __init__(self, config: Any) -> None:
        self._config = config
        self._plain: dict[str, tuple[bytes, CodeType]] = {}
        self._rewritten: dict[str, tuple[bytes, CodeType]] = {}
        self._compile = importlib.machinery.SourceFileLoader.source_to_code
        self._rewrite = getattr(rewrite, "_rewrite_test", None)
        self._heard, self._say = os.pipe()
        os.set_blocking(self._heard, False)
        os.set_blocking(self._say, False)

    def install(self) -> None:
        """From here on modules are loaded through this."""
        plain = self._plain_code
        importlib.machinery.SourceFileLoader.source_to_code = (  # type: ignore[method-assign]
            lambda loader, data, path, **options: plain(loader, data, path, **options)
        )
        if self._rewrite is not None:
            rewrite._rewrite_test = self._rewritten_code

    def learn(self) -> None:
        """Compiles what copies have named."""
        try:
            names = os.read(self._heard, self.LONGEST).decode("utf-8", "replace").split("\n")
        except BlockingIOError:
            return
        for name in names[:-1]:
            known = self._rewritten if name[:1] == "r" else self._plain
            path = name[1:]
            if path not in known and path.startswith(ROOT + os.sep) and len(known) < self.MOST_FILES:
                try:
                    known[path] = self._made(path, rewritten=known is self._rewritten)
                except Exception:  # noqa: S112 - it does not compile, or it is gone: those who need it will say so
                    continue

    def forget_line(self) -> None:
        """In a copy: it only speaks."""
        os.close(self._heard)

    def _made(self, path: str, *, rewritten: bool) -> tuple[bytes, CodeType]:
        """Of what is read once: whoever changes the file meanwhile changes nothing here."""
        with open(path, "rb") as file:
            data = file.read(self.LARGEST)
        if not rewritten:
            return data, compile(data, path, "exec", dont_inherit=True)
        tree = ast.parse(data, filename=path)
        rewrite.rewrite_asserts(tree, data, path, self._config)
        return data, compile(tree, path, "exec", dont_inherit=True)

    def _plain_code(self, loader: Any, data: Any, path: Any, **options: Any) -> Any:
        known = self._plain.get(path) if isinstance(path, str) and not options else None
        if known is not None and known[0] == data:
            return known[1]
        self._name("p", path)
        return self._compile(loader, data, path, **options)

    def _rewritten_code(self, fn: Any, config: Any) -> Any:
        known = self._rewritten.get(str(fn))
        if known is not None and self._rewrite is not None:
            status = os.stat(fn)
            with open(fn, "rb") as file:
                if file.read() == known[0]:
                    return status, known[1]
        self._name("r", fn)
        return self._rewrite(fn, config) if self._rewrite is not None else None

    def _name(self, kind: str, path: object) -> None:
        try:
            os.write(self._say, f"{kind}{path}\n".encode("utf-8", "replace"))
        except OSError:
            pass  # nobody has listened for long, or a test has closed it


class Runner:
    """The process of which each job gets a copy."""

    PR_SET_DUMPABLE = 4
    NOT_THIS_ONE = 70

    def __init__(self, descriptor: int, config: Any) -> None:
        import ctypes
        import socket

        self._link = socket.socket(fileno=descriptor)
        self._rights = socket.CMSG_SPACE(struct.calcsize("i"))
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._compiled = Compiled(config)

    def serve(self) -> None:
        """Returns in each copy, ready to go on with its job; ends with the supervisor."""
        try:
            if _tied() or self._prctl(self.PR_SET_DUMPABLE, 0, 0, 0, 0):
                os._exit(self.NOT_THIS_ONE)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(null, stream)
            os.close(null)
            self._compiled.install()
            gc.freeze()  # or each copy looks through all of it once more when it ends
            self._link.send(b"ready")
            while True:
                folder, rights, _, _ = self._link.recvmsg(4096, self._rights)
                if not folder:
                    break
                (output,) = struct.unpack("i", rights[0][2])
                pid = os.fork()
                if pid == 0:
                    self._become(folder, output)
                    return
                os.close(output)
                status = os.waitpid(pid, 0)[1]
                self._compiled.learn()
                self._link.send(str(status).encode())
        except OSError:
            pass  # the supervisor is gone
        os._exit(self.NOT_THIS_ONE)

    def _become(self, folder: bytes, output: int) -> None:
        self._link.close()
        self._compiled.forget_line()
        self._prctl(self.PR_SET_DUMPABLE, 1, 0, 0, 0)
        os.setsid()
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        os.chdir(folder)
        importlib.invalidate_caches()


def _tied() -> bool:
    """Whether copies of this process could differ from a new one: something of the project is loaded, or runs."""
    tree = Tree(ROOT)
    files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name != ME]
    return threading.active_count() > 1 or any(isinstance(file, str) and tree.relative(file) for file in files)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: Any) -> Hook:
    """The earliest hook of a plugin that is not built in."""
    if hasattr(early_config.known_args_namespace, "cov_source"):
        early_config.known_args_namespace.no_cov = True
    if WARM:
        Runner(int(WARM), early_config).serve()
        OPENED.extend(_open())
    if OPENED:
        request, report = OPENED.pop()
        early_config.pluginmanager.register(Probe(request, report, early_config), ME + "_hooks")
    yield


def _open() -> list[tuple[dict[str, Any], Report]]:
    with open(REQUEST, encoding="utf-8") as file:
        request = json.load(file)
    if request["once"]:
        os.unlink(REQUEST)
    report = Report(os.path.join(os.path.dirname(REQUEST), request["report"]), request.pop("key"))
    report.write("open", python=sys.version.split()[0], pytest=pytest.__version__)
    return [(request, report)]


OPENED = _open() if REQUEST and not WARM else []
