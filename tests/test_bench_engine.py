"""The bench of engines: the work is what it says, sides are compared as promised, and what fails says so in a line."""

import asyncio
import importlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCH = Path(__file__).parent.parent / "bench"
TEXT = list(range(100_000))

Part = Callable[[str], Any]


@pytest.fixture(scope="module")
def part() -> Any:
    """Imports a module of the bench."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module


@pytest.fixture
def shape(part: Part) -> Callable[..., Any]:
    return lambda **sizes: part("engines.shapes").Shape(**{"agents": 3, "shared": 5, "own": 2, "generated": 4, **sizes})


@pytest.fixture
def run(part: Part) -> Callable[..., Any]:
    """An outcome."""
    known = {"seconds": 2.0, "cpu": 1.0, "peak": 10.0, "generated": 12}
    return lambda **told: part("engines.outcome").Outcome(**{**known, **told})


class Fake:
    """An engine whose runs come out as they are told."""

    def __init__(self, name: str, outcomes: Sequence[Any], calls: list[str], limits: list[float | None]) -> None:
        self.name = name
        self._outcomes = list(outcomes)
        self._calls, self._limits = calls, limits

    def run(self, work: Any, limit: float | None = None) -> Any:
        self._calls.append(self.name)
        self._limits.append(limit)
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_prompts_share_exactly_the_head_and_conversations_fit_the_context(part: Part, shape: Any) -> None:
    shapes = part("engines.shapes")
    sizes = shape(agents=4, turns=3, told=(2, 6), stagger=0.5, pause=1.0)
    work = shapes.work(sizes, TEXT)
    assert [one.start for one in work.conversations] == [0.0, 0.5, 1.0, 1.5]
    assert {one.prompt[:5] for one in work.conversations} == {tuple(TEXT[:5])}
    assert len({one.prompt[5] for one in work.conversations}) == 4
    for one in work.conversations:
        assert (len(one.prompt), len(one.results), len(one.pauses)) == (7, 2, 2)
        assert all(2 <= len(result) <= 6 for result in one.results)
        assert len(one.prompt) + sum(map(len, one.results)) + 3 * sizes.generated <= sizes.context
    assert shapes.work(sizes, TEXT) == work
    with pytest.raises(ValueError, match="too short"):
        shapes.work(sizes, TEXT[: sizes.text - 1])


def test_an_edit_repeats_the_head_but_for_some_tokens(part: Part, shape: Any) -> None:
    work = part("engines.shapes").work(shape(shared=50, generated=40, edits=5), TEXT)
    for one in work.conversations:
        assert len(one.answer) == 40
        assert 35 <= sum(map(int.__eq__, one.answer, one.prompt[10:50])) < 40
    assert len({one.answer for one in work.conversations}) == 3


def test_a_hundred_prompts_behind_a_head_need_the_head_once(part: Part, shape: Any) -> None:
    shapes = part("engines.shapes")
    assert shapes.least(shapes.work(shape(agents=100, shared=1024, own=64), TEXT)) == 1024 + 100 * 64
    assert shapes.least(shapes.work(shape(agents=2, shared=3, own=2, turns=3, told=(4, 4)), TEXT)) == 3 + 2 * (2 + 8)


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from((0.5, 0.9, 0.99, 1.0)))
@settings(max_examples=50)
def test_a_quantile_is_the_least_wait_that_so_many_do_not_exceed(part: Part, waits: list[float], share: float) -> None:
    found = part("engines.outcome").quantile(waits, share)
    assert sum(wait <= found for wait in waits) >= share * len(waits)
    assert sum(wait < found for wait in waits) < share * len(waits)


async def _told(part: Part, work: Any) -> tuple[Any, dict[int, list[list[int]]]]:
    drive, asked = part("engines.drive"), {}

    async def ask(agent: int, prompt: Sequence[int]) -> Any:
        asked.setdefault(agent, []).append(list(prompt))
        return drive.Said(tokens=(-1, -2), count=2, first=None)

    return await drive.play(work, ask), asked


def test_what_the_model_said_stays_in_the_conversation(part: Part, shape: Any) -> None:
    work = part("engines.shapes").work(shape(agents=2, turns=3, told=(1, 3)), TEXT)
    played, asked = asyncio.run(_told(part, work))
    assert played.generated == 2 * 3 * 2
    for number, one in enumerate(work.conversations):
        first, second, third = asked[number]
        assert first == list(one.prompt)
        assert second == [*first, -1, -2, *one.results[0]]
        assert third == [*second, -1, -2, *one.results[1]]


def test_the_best_setting_of_the_peer_goes_on_and_sides_take_turns(part: Part, shape: Any, run: Any) -> None:
    calls: list[str] = []
    limits: list[float | None] = []
    ours = Fake("ours", [run(seconds=1.0), run(seconds=3.0), run(seconds=2.0)], calls, limits)
    slow = Fake("slow", [run(seconds=20.0)], calls, limits)
    good = Fake("good", [run(seconds=8.0), run(seconds=10.0), run(seconds=9.0)], calls, limits)
    lost = Fake("lost", [part("engines.processes").Lost("it fell over", "see its log")], calls, limits)
    result = _contest(part, shape(), ours, (slow, good, lost), rounds=3)
    assert calls == ["ours", "slow", "good", "lost", "good", "ours", "ours", "good"]
    assert (result.name, len(result.peer), result.ratio) == ("good", 3, 9.0 / 2.0)
    assert limits[1:4] == [100, 20, 8], "a setting is stopped once it is worse than the best so far"
    assert any("it fell over" in note for note in result.notes)


def test_a_run_of_too_few_tokens_is_noted(part: Part, shape: Any, run: Any) -> None:
    fakes = [Fake(name, [run(generated=count)], [], []) for name, count in (("ours", 12), ("peer", 11))]
    result = _contest(part, shape(), fakes[0], (fakes[1],), rounds=1)
    assert result.notes == ("peer generated 11 tokens instead of 12",)


def _contest(part: Part, shape: Any, ours: Fake, peers: tuple[Fake, ...], rounds: int, **more: Any) -> Any:
    row = part("engines.rows").Row(key="k", title="some work", shape=shape, ours=ours, peers=peers, goal=3.0, **more)
    work = part("engines.shapes").work(shape, TEXT)
    return part("engines.contest").contest(row, work, rounds, 100, lambda line: None)


def test_a_line_tells_whether_the_goal_was_reached(part: Part, shape: Any, run: Any) -> None:
    line = part("engines.table").line

    def told(mine: Any, theirs: Any, **more: Any) -> str:
        fakes = Fake("ours", [mine], [], []), Fake("peer", [theirs], [], [])
        return str(line(_contest(part, shape(), fakes[0], (fakes[1],), 1, **more)))

    assert told(run(seconds=2.0), run(seconds=6.0)).endswith("3.00    3.0  yes")
    assert told(run(seconds=2.0), run(seconds=5.9)).endswith("2.95    3.0  NO")
    assert told(run(rate=300.0), run(rate=100.0), rate=True).endswith("3.00    3.0  yes")
    assert told(run(seconds=2.0), part("engines.processes").Lost("it fell over", "see its log")).endswith("-    3.0")


def test_a_peer_that_was_stopped_is_so_many_times_slower_at_least(part: Part, shape: Any, run: Any) -> None:
    """Which may be as much as was wanted; whether it would have been is not told where the limit was too low."""
    line = part("engines.table").line

    def told(seconds: float) -> str:
        fakes = Fake("ours", [run(seconds=seconds)], [], []), Fake("peer", [None], [], [])
        return str(line(_contest(part, shape(), fakes[0], (fakes[1],), 1)))

    assert "over 100 s" in told(25.0)
    assert told(25.0).endswith(">4.0    3.0  yes")
    assert told(50.0).endswith(">2.0    3.0")


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_events_are_whole_however_the_stream_is_cut(part: Part, data: st.DataObject) -> None:
    sent = [b"first", b"{}", b"x" * 300]
    stream = b"".join(b"data: " + event + b"\n\n" for event in sent)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert asyncio.run(_events(part, head + body)) == sent


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 No\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n", b""])
def test_a_server_that_fails_is_lost(part: Part, answer: bytes) -> None:
    with pytest.raises(part("engines.processes").Lost):
        asyncio.run(_events(part, answer))


async def _events(part: Part, answer: bytes) -> list[bytes]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return [event async for event in part("engines.client").events(port, "/", {})]


def _alive(stat: Path) -> bool:
    try:
        return stat.read_text().split()[2] not in "ZX"
    except OSError:
        return False


def test_processes_end_with_the_block_and_failures_cross_over(part: Part, tmp_path: Path) -> None:
    processes = part("engines.processes")
    log = tmp_path / "log"
    with processes.running(["sh", "-c", "sleep 600 & echo $!; wait"], log):
        while not log.read_text().endswith("\n"):
            os.sched_yield()
        child = Path(f"/proc/{log.read_text().strip()}/stat")
        assert _alive(child)
    give_up = time.monotonic() + 10
    while _alive(child):  # the kill is on its way when the block ends
        assert time.monotonic() < give_up
        os.sched_yield()
    with pytest.raises(ZeroDivisionError):
        processes.aside(divmod, 1, 0)
    with pytest.raises(processes.Lost, match="ended with 7"):
        processes.aside(os._exit, 7)


SERVER = """#!{python}
import http.server, json, sys
arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
assert (arguments["-np"], arguments["-c"], arguments["-t"], arguments["-tb"]) == ("3", "768", "2", "2"), sys.argv

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["ignore_eos"] and asked["stream"] and asked["temperature"] == 0
        self.send_response({status})
        self.end_headers()
        timings = {{"prompt_n": len(asked["prompt"]), "predicted_n": asked["n_predict"]}}
        for event in (*({{"tokens": [7]}} for _ in range(asked["n_predict"])), {{"timings": timings}}):
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\\n\\n")

http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments["--port"])), Handler).serve_forever()
"""


def _server(part: Part, folder: Path, status: int) -> Any:
    program = folder / "llama-server"
    program.write_text(SERVER.format(python=sys.executable, status=status))
    program.chmod(0o755)
    return part("engines.peers").Server(program=program, model=Path("model.gguf"), threads=2)


def test_a_server_is_started_asked_and_ended(part: Part, shape: Any, tmp_path: Path) -> None:
    work = part("engines.shapes").work(shape(turns=2, told=(1, 1)), TEXT)
    outcome = _server(part, tmp_path, 200).run(work)
    assert outcome.generated == work.shape.answers
    assert outcome.prefilled == 3 * (7 + 7 + 4 + 1), "the second turn begins with the first and its answer"
    assert len(outcome.waits) == 6


def test_what_a_failing_server_printed_is_told(part: Part, shape: Any, tmp_path: Path) -> None:
    work = part("engines.shapes").work(shape(), TEXT)
    with pytest.raises(part("engines.processes").Lost, match="answered 500"):
        _server(part, tmp_path, 500).run(work)
    wrong = part("engines.shapes").work(shape(agents=2), TEXT)
    with pytest.raises(part("engines.processes").Lost, match="ended with 1") as error:
        _server(part, tmp_path, 200).run(wrong)
    assert "AssertionError" in error.value.hint


def bench(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, str(BENCH / "engine.py"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)


def test_bad_arguments_are_answered_in_a_line(tmp_path: Path) -> None:
    unknown = bench("--rows", "head-1k,sideways")
    assert unknown.returncode == 2
    assert "no row 'sideways'; there are head-1k, head-4k" in unknown.stderr
    no_program = bench("--llama-server", str(tmp_path))
    assert no_program.returncode == 3
    assert no_program.stderr.startswith(f"bench: {tmp_path} is no program")
    no_model = bench("--model", str(tmp_path / "none.gguf"))
    assert no_model.returncode == 3
    assert "Traceback" not in unknown.stderr + no_program.stderr + no_model.stderr


def test_without_cmake_it_says_what_to_do(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(part("swarmcode.errors").SurroundingsError, match="cmake is missing") as error:
        part("engines.build").build(tmp_path, tmp_path / "build", 1, lambda line: None)
    assert "--llama-server" in error.value.hint


@pytest.mark.model
def test_our_side_shares_the_head_and_generates_what_was_asked_for(part: Part, shape: Any) -> None:
    """A real run in a process of its own, with the embedded model."""
    shapes, model = part("engines.shapes"), part("swarmcode.engine.models").resolve("repair").path
    sizes = shape(agents=4, shared=64, own=8, generated=4, turns=2, told=(3, 5))
    text = part("engines.processes").aside(part("engines.text").tokens, model, sizes.text)
    work = shapes.work(sizes, text)
    outcome = part("engines.ours").Ours(model=model, threads=1).run(work)
    assert outcome.generated == sizes.answers
    least = shapes.least(work)
    assert least <= outcome.prefilled <= least + 4 * (4 + 1), "beside that, at most the answers of first turns"
    assert len(outcome.waits) == 8
    assert 0 < outcome.python < 1
    assert outcome.peak > 10


@pytest.mark.model
def test_a_random_model_is_the_same_each_time_and_generates(part: Part, shape: Any, tmp_path: Path) -> None:
    """A small one of the same graph; by default it is as large as promised."""
    random_model = part("random_model")
    sizes = random_model.Sizes(vocabulary=4096)
    assert sum(math.prod(each) for _, each in random_model.tensors(sizes)) > 300e6
    small = ["--layers", "2", "--experts", "8", "--used", "2", "--width", "64"]
    first, second = (tmp_path / f"{name}.gguf" for name in "ab")
    for path in (first, second):
        argv = [sys.executable, str(BENCH / "random_model.py"), str(path), *small]
        subprocess.run(argv, check=True, capture_output=True)
    assert first.read_bytes() == second.read_bytes()
    work = part("engines.shapes").work(shape(), TEXT[:100])
    assert part("engines.ours").Ours(model=first, threads=1).run(work).generated == work.shape.answers


def test_a_server_is_let_beyond_the_trained_context_only_where_it_must(part: Part) -> None:
    """The embedded model was trained with less than the longest work here needs."""
    model = part("swarmcode.engine.models").resolve("repair").path
    assert part("engines.peers").longer(model, 128) == []
    assert part("engines.peers").longer(model, 100_000) == ["--override-kv", "deepseek2.context_length=int:100000"]
