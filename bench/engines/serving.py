"""A server as an opponent: started afresh, waited for, asked everything over loopback, and ended."""

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines import client, processes
from engines.drive import Played, Said, play
from engines.outcome import Outcome
from engines.processes import Lost
from engines.shapes import Work

_CELLS = 256
"""llama.cpp rounds the cells of a sequence up to a multiple of this."""
_LOADING = 300.0
"""Seconds that a model may take to load."""


@dataclass(slots=True)
class Tally:
    """What the server tells of its work."""

    prefilled: int | None = None
    """Prompt tokens computed so far."""


Question = Callable[[int, Tally, int, Sequence[int]], Awaitable[Said]]
"""Port, tally, agent, prompt -> answer."""


def cells(tokens: int) -> int:
    """What a sequence of that many tokens is given: one more than it needs, rounded up."""
    return (tokens // _CELLS + 1) * _CELLS


def serve(
    argv: Sequence[str], port: int, health: str, work: Work, ask: Question, limit: float | None
) -> Outcome | None:
    """Runs the work on the server that `argv` starts on that port; None where it takes longer than `limit` seconds.

    Raises `Lost`, with the end of what the server printed, where it does not come up or does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with processes.running(argv, log) as server:
            try:
                return asyncio.run(_measure(server, port, health, work, ask, limit))
            except Lost as lost:
                raise Lost(lost.message, f"it printed: {_end(log)}") from lost


async def _measure(
    server: "subprocess.Popen[bytes]", port: int, health: str, work: Work, ask: Question, limit: float | None
) -> Outcome | None:
    await _up(server, port, health)
    before, tally = processes.cpu(server.pid), Tally()

    async def answer(agent: int, prompt: Sequence[int]) -> Said:
        return await ask(port, tally, agent, prompt)

    played: Played | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            played = await play(work, answer)
    if played is None:
        return None
    return Outcome(
        seconds=played.seconds,
        cpu=processes.cpu(server.pid) - before,
        peak=processes.peak(server.pid),
        generated=played.generated,
        prefilled=tally.prefilled,
        waits=played.waits,
        rate=played.together,
    )


async def _up(server: "subprocess.Popen[bytes]", port: int, health: str) -> None:
    give_up = time.monotonic() + _LOADING
    while not await client.ready(port, health):
        if server.poll() is not None:
            raise Lost(f"{server.args[0]} ended with {server.returncode}")  # type: ignore[index]
        if time.monotonic() > give_up:
            raise Lost(f"{server.args[0]} has not loaded the model after {_LOADING:.0f} s")  # type: ignore[index]
        await asyncio.sleep(0.1)


def _end(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "nothing"
