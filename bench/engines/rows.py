"""Which work is compared with which peer, and what must come of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from engines.alone import Alone
from engines.build import Programs
from engines.ours import Ours
from engines.outcome import Outcome
from engines.peers import BatchedBench, Example, Server
from engines.shapes import Shape, Work


class Engine(Protocol):
    """Whatever does work."""

    @property
    def name(self) -> str: ...

    def run(self, work: Work, limit: float | None = None) -> Outcome | None:
        """None where it took longer than `limit` seconds. Raises `Lost`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    shape: Shape
    ours: Engine
    peers: tuple[Engine, ...]
    """Settings of the peer: the best of them counts."""
    beside: tuple[Engine, ...] = ()
    """Printed, not judged."""
    goal: float
    """The ratio that must be reached."""
    rate: bool = False
    """Whether rates are compared instead of times."""


def rows(model: Path, threads: int, programs: Programs, *, quick: bool, layout: str = "") -> tuple[Row, ...]:
    """All rows, in the order in which they are printed."""
    ours = Ours(model=model, threads=threads, layout=layout)
    server = Server(program=programs.server, model=model, threads=threads)
    servers = (server, replace(server, unified=True))
    bench = BatchedBench(program=programs.batched_bench, model=model, threads=threads)
    alone = Alone(model=model, threads=threads)
    undrafted = (replace(ours, drafting=False, name="without drafting"),)
    alones = (alone, replace(alone, flash=True))
    example = (Example(script=programs.example, model=model, threads=threads),) if programs.example else ()

    def row(
        key: str,
        title: str,
        goal: float,
        peers: tuple[Engine, ...],
        beside: tuple[Engine, ...] = (),
        rate: bool = False,
        agents: int = 0,
    ) -> Row:
        shape = smaller(SHAPES[key]) if quick else SHAPES[key]
        open_for = replace(ours, agents=agents)
        return Row(key=key, title=title, shape=shape, ours=open_for, peers=peers, beside=beside, goal=goal, rate=rate)

    return (
        row("head-1k", "a short head", 6.0, servers, example),
        row("head-4k", "a long head", 15.0, servers, example),
        row("decode", "decoding behind a head", 0.9, (bench, replace(bench, unified=True)), rate=True),
        row("apart", "nothing shared", 1.0, servers, example),
        row("agents", "agents with tools", 4.0, (*servers, replace(server, pinned=True))),
        row("edits", "an edit, drafted", 2.0, undrafted, rate=True),
        row("edits-8", "8 edits, drafted", 2.0, undrafted, rate=True),
        row("alone", "one request alone", 1.0, alones, agents=100),
        row("alone-short", "a short one alone", 1.0, alones, agents=100),
    )


SHAPES = {
    "head-1k": Shape(agents=100, shared=1024, own=64, generated=48),
    "head-4k": Shape(agents=100, shared=4096, own=64, generated=48),
    "decode": Shape(agents=100, shared=1024, own=4, generated=48, temperature=1.0),
    "apart": Shape(agents=100, shared=0, own=512, generated=48),
    "agents": Shape(agents=100, shared=4096, own=64, generated=48, turns=8, told=(32, 192), stagger=0.05, pause=1.0),
    "edits": Shape(agents=1, shared=1024, own=16, generated=384, edits=12),
    "edits-8": Shape(agents=8, shared=1024, own=16, generated=384, edits=12),
    "alone": Shape(agents=1, shared=0, own=1024, generated=128),
    "alone-short": Shape(agents=1, shared=0, own=384, generated=128),
}
"""The work of each row. Decoding is done at temperature 1: the peer decodes random tokens, which touch more experts
than a hundred answers that are alike."""


def smaller(shape: Shape) -> Shape:
    """A quarter of the agents and half of each length: a look, no measurement."""
    return replace(
        shape,
        agents=-(-shape.agents // 4),
        shared=shape.shared // 2,
        own=-(-shape.own // 2),
        generated=shape.generated // 2,
        turns=-(-shape.turns // 2),
        edits=shape.edits // 2,
    )
