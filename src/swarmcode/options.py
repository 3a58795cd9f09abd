"""Every setting there is, with what it means, its default, and whether a repository may decide it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from swarmcode.flow import Mode
from swarmcode.settings import Setting, automatic, choice, command, nothing, number, setting, text, whole

ModeChoice = Literal["auto"] | Mode
ReproduceChoice = Literal["auto", "off"]
SandboxChoice = Literal["auto", "docker", "bwrap", "process"]
ExpertsChoice = Literal["auto", "gpu", "host"]
MmapChoice = Literal["auto", "on", "off"]
NumaChoice = Literal["auto", "off", "distribute", "isolate", "numactl"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which model."""

    name: str = setting("model", "repair", "name, or path of a GGUF file", text, nothing)
    adapter: str = setting(
        "adapter", "", "path of a LoRA adapter (GGUF) that is put over it; empty: none", text, nothing
    )
    planner: str = setting("planner_model", "", "another model, for the plan alone; empty: the same", text, nothing)
    context: int = setting(
        "context", 0, "tokens of its KV cache; 0: as agents and model need", whole(0, 1 << 24), nothing
    )
    threads: int = setting(
        "threads",
        0,
        "threads that compute; 0: half of the processors, the tests need the others",
        whole(0, 1024),
        nothing,
    )
    gpu_layers: int | Literal["auto"] = setting(
        "gpu_layers",
        "auto",
        "of its layers, the last ones, that go to GPUs; auto: as many as fit there with their KV cache",
        automatic(whole(0, 10_000)),
        nothing,
    )
    experts: ExpertsChoice = setting(  # noqa: RUF009
        "experts",
        "auto",
        "where routed experts of these layers lie; auto: on GPUs, if they fit",
        choice(*get_args(ExpertsChoice)),
        nothing,
    )
    mmap: MmapChoice = setting(  # noqa: RUF009
        "mmap",
        "auto",
        "whether weights in host memory are mapped from their file; auto: as llama.cpp has it",
        choice(*get_args(MmapChoice)),
        nothing,
    )
    numa: NumaChoice = setting(  # noqa: RUF009
        "numa",
        "auto",
        "how threads are spread over memory nodes; auto: evenly, where there are several",
        choice(*get_args(NumaChoice)),
        nothing,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmSettings:
    """How much is tried."""

    mode: ModeChoice = setting("mode", "auto", "how a fix is searched", choice("auto", *get_args(Mode)))  # noqa: RUF009
    agents: int = setting("agents", 100, "agents at once, at most", whole(1, 255))
    timeout: float = setting("timeout", 600.0, "seconds that the whole run may take", number(1, 604_800))
    seed: int = setting("seed", 0, "seed of all sampling", whole(0, 2**32 - 1))
    reproduce: ReproduceChoice = setting(  # noqa: RUF009
        "reproduce",
        "auto",
        "where all tests pass: auto has the model write one that shows the fault, if it can; off ends the run",
        choice(*get_args(ReproduceChoice)),
    )


def _limit(key: str, default: T, what: str, parse: Callable[[object], T]) -> T:
    """A limit, which a repository may tighten and not loosen."""

    def tighter(value: Any) -> bool:
        return bool(value <= default)

    return setting(f"limits.{key}", default, what, parse, tighter)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What one command in a box may use; the fields are those of `sandbox.protocol.Limits`."""

    seconds: float = _limit("seconds", 120.0, "seconds that one test run may take", number(1, 86_400))
    memory_mb: int = _limit("memory_mb", 2048, "memory of a box, its files included, MiB", whole(64, 1 << 20))
    cpus: float = _limit("cpus", 1.0, "processors of a box", number(0.1, 1024))
    processes: int = _limit("processes", 128, "processes in a box", whole(4, 65_536))
    file_mb: int = _limit("file_mb", 128, "largest file that a box may write, MiB", whole(1, 1 << 20))
    disk_mb: int = _limit("disk_mb", 1024, "all that a box may hold, MiB", whole(16, 1 << 20))
    output_kb: int = _limit("output_kb", 256, "tail of a command's output that is kept, KiB", whole(1, 65_536))


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """Where untrusted code runs."""

    kind: SandboxChoice = setting(  # noqa: RUF009
        "sandbox",
        "auto",
        "what isolates the tests (process: nothing does)",
        choice(*get_args(SandboxChoice)),
        lambda kind: kind != "process",
    )
    image: str = setting("image", "", "Docker image to run in; empty: the host's own toolchain", text, nothing)
    boxes: int = setting("boxes", 0, "test runs at once; 0: as the machine allows", whole(0, 1024), nothing)
    limits: LimitSettings = field(default_factory=LimitSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSettings:
    """How the tests run."""

    command: str = setting("test", "", "test command; empty: found in the project", command)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """What stays of earlier runs."""

    keep: int = setting("keep", 50, "runs whose folder is kept", whole(1, 100_000), nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. A stage gets only its own group."""

    model: ModelSettings = field(default_factory=ModelSettings)
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    suite: SuiteSettings = field(default_factory=SuiteSettings)
    state: StateSettings = field(default_factory=StateSettings)


def _declared(group: type[Any]) -> Iterator[Setting]:
    for each in fields(group):
        declared = each.metadata.get("setting")
        if declared is None:
            yield from _declared(each.type)  # type: ignore[arg-type]
        else:
            yield declared


SETTINGS: Mapping[str, Setting] = {declared.key: declared for declared in _declared(Settings)}
"""Every setting by its key."""
