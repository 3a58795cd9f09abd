"""The model that a run is to use: a file that llama.cpp runs here, or endpoints that run it elsewhere."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarmcode.engine.models import ModelFile, adapted, resolve
from swarmcode.engine.placement import Overrides
from swarmcode.engine.protocol import Engine
from swarmcode.engine.remote.address import Endpoint, endpoints, is_remote
from swarmcode.errors import UsageError
from swarmcode.options import ModelSettings, Settings
from swarmcode.report.terminal import counted
from swarmcode.sandbox.pool import cpus

PLANNER_CONTEXT = 32_768
"""Tokens: a plan is made from suspects and names of files, not from the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model that can be opened. One of the two is there."""

    file: ModelFile | None = None
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def name(self) -> str:
        """As it is known before it is opened."""
        return self.file.profile.name if self.file else ", ".join(dict.fromkeys(each.host for each in self.endpoints))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person must know before anything is sent, a line each."""
        return tuple(dict.fromkeys(line for each in self.endpoints if (line := each.warning())))


def choose_model(name: str, adapter: str = "") -> Choice:
    """What a person means by a name, a path, or the addresses of endpoints, and by the path of an adapter for it.
    Raises `UsageError`, `ModelError`."""
    if is_remote(name):
        if adapter:
            raise UsageError(f"an adapter cannot be put over {name}", "whoever runs the endpoint can; leave it out")
        return Choice(endpoints=endpoints(name, os.environ))
    file = resolve(name)
    return Choice(file=adapted(file, Path(adapter)) if adapter else file)


async def open_model(
    choice: Choice, settings: Settings, note: Callable[[str], None], *, agents: int = 0, context: int = 0
) -> Engine:
    """Loads the model, or greets the endpoints; `note` tells a person which of them are left out. What is 0 is as the
    settings say."""
    context = context or settings.model.context
    if choice.file is None:
        from swarmcode.engine.remote.engine import open_remote

        remote = await open_remote(choice.endpoints, context=context)
        for line in remote.warnings:
            note(line)
        return remote
    from swarmcode.engine.llama.engine import open_engine

    # llama.cpp's threads spin while they wait for each other: beside tests, more of them are slower, not faster.
    threads = settings.model.threads or max(1, cpus() // 2)
    agents = agents or settings.swarm.agents
    decided = overrides(settings.model)
    return await open_engine(
        choice.file, agents=agents, context=context, threads=threads, exact=False, overrides=decided
    )


def overrides(settings: ModelSettings) -> Overrides:
    """What a person has decided of where weights lie."""
    return Overrides(
        gpu_layers=None if settings.gpu_layers == "auto" else settings.gpu_layers,
        experts=settings.experts,
        mmap=settings.mmap,
        numa=settings.numa,
    )


class Standby:
    """A model that splits the work, opened when it is first asked for: many runs need no plan but that of their
    evidence."""

    def __init__(self, choice: Choice, settings: Settings, note: Callable[[str], None]) -> None:
        self.choice = choice
        self._settings = settings
        self._note = note
        self._engine: Engine | None = None

    async def __call__(self) -> Engine:
        if self._engine is None:
            self._note(f"loading {self.choice.name}, which makes the plan")
            given = {"agents": 1, "context": PLANNER_CONTEXT}
            self._engine = await open_model(self.choice, self._settings, self._note, **given)
        return self._engine

    async def close(self) -> None:
        """Ends it, if it was opened."""
        if self._engine is not None:
            tell_cost(self.choice, self._engine, self._note)
            await self._engine.close()


def choose_planner(settings: Settings, note: Callable[[str], None]) -> Standby | None:
    """The model that is to plan in place of the one that works; None: there is none. Raises `UsageError`,
    `ModelError`."""
    name = settings.model.planner
    if not name:
        return None
    choice = choose_model(name)
    if choice.file and not choice.file.profile.plans:
        raise UsageError(
            f"{choice.name} cannot plan: it follows no instructions",
            "name an instruction-tuned model for --planner-model",
        )
    return Standby(choice, settings, note)


def tell_cost(choice: Choice, engine: Engine, note: Callable[[str], None]) -> None:
    """What the endpoints' answers cost, where prices were given."""
    if not any(endpoint.price for endpoint in choice.endpoints):
        return
    from swarmcode.engine.remote.engine import RemoteEngine

    assert isinstance(engine, RemoteEngine)
    spent = engine.spending
    more = f", and {counted(spent.unpriced, 'answer')} whose cost is not known" if spent.unpriced else ""
    note(f"by the prices given, the endpoints' answers cost {spent.money:.4f}{more}")
