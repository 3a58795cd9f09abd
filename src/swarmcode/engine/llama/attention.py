"""Our own attention for CPUs, a plugin of ggml: compiled for the processor it runs on, and proven before it is used.

llama.cpp's flash attention on a CPU goes row by row, once for every query head. `native/attention.cpp` computes tiles
for all heads and all tokens that share them, several times faster. ggml takes it for what it supports as it takes BLAS,
without a change to llama.cpp.

It is compiled once, in some seconds, into the user's cache folder. Before it is used, another process compares what it
computes with what must come out (`proof.py`): a plugin that crashes, because ggml's interface is another, or miscounts,
is never loaded. Where there is no compiler, or `SWARMCODE_KERNEL=off`, llama.cpp computes attention as ever.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import platformdirs

from swarmcode.engine.draft import Drafter, Drafting
from swarmcode.engine.llama.drafting import NativeDrafter
from swarmcode.engine.llama.drawing import Native
from swarmcode.engine.llama.library import FOLDER, LOG, lib

SWITCH = "SWARMCODE_KERNEL"
"""Environment variable: `off` leaves attention to llama.cpp."""

PRODUCTS_FROM = 6
"""Steps with fewer tokens are left to llama.cpp, but for their attention: weights are put in order for many tokens.
Measured with 31 and 347 million weights on two cores."""

_SOURCE = Path(__file__).parent / "native"
_UNITS = tuple(
    f"{name}.cpp" for name in ("attention", "draft", "draw", "places", "plugin", "products", "router", "rows", "stride")
)
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fopenmp", "-fvisibility=hidden", "-w")
_COMPILING, _PROVING = 300, 60
"""Seconds that may pass."""

_LOCK = threading.Lock()


class _Unusable(Exception):
    """Why there is no kernel here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What of the plugin is loaded."""

    registry: int = 0
    """ggml's handle of the plugin; 0: there is none."""
    why_not: str = ""
    """Why there is none, for a person."""
    refused: Callable[[], int] = lambda: 0
    """How many attention operations the plugin has left to llama.cpp since it was asked last."""
    take: Callable[[bool, bool], None] = lambda products, rounds: None
    """Sets whether the plugin computes products with weights of eight bits and what lies between them, and whether its
    attention may round numbers to bf16 where the processor multiplies these faster: both for what the calling thread
    loads, opens and computes from now on. Without a word it does both."""

    draw: Native | None = None
    """`swarmcode_draw`, for `drawing.py`; it works without the rest. None: it could not be compiled."""
    stride: Native | None = None
    """`swarmcode_stride`, for `stride.py`; likewise."""
    drafter: Callable[[Sequence[int]], Drafting] = Drafter
    """Likewise; by Python where it could not be compiled."""

    def __bool__(self) -> bool:
        """Whether attention is ours."""
        return bool(self.registry)


def kernel() -> Kernel:
    """The kernel of this process, which is compiled, proven and loaded when it is first asked for. Raises nothing."""
    with _LOCK:
        return _kernel()


@functools.cache
def _kernel() -> Kernel:
    try:
        path = _built()
    except _Unusable as unusable:
        return Kernel(why_not=str(unusable))
    if lib.llama_supports_gpu_offload():
        return replace(_functions(path), why_not="llama.cpp was built for GPUs")
    return load(path)


def load(path: Path) -> Kernel:
    """Registers a plugin with ggml, for all models that are opened from now on."""
    LOG.listen()
    opened = lib._lib.ggml_backend_load
    opened.restype, opened.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    registry = opened(os.fsencode(path))
    if not registry:
        return Kernel(why_not=f"ggml does not load it: {LOG.complaint()}")
    found = lib._lib.ggml_backend_reg_get_proc_address
    found.restype, found.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
    refused = ctypes.CFUNCTYPE(ctypes.c_int)(found(registry, b"swarmcode_refused"))
    take = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int)(found(registry, b"swarmcode_take"))
    return replace(_functions(path), registry=registry, refused=refused, take=_remembered(take))


def _remembered(take: Callable[[bool, bool], None]) -> Callable[[bool, bool], None]:
    """The same; what a thread has said is not said again."""
    said = threading.local()

    def changed(products: bool, rounds: bool) -> None:
        if getattr(said, "last", None) != (products, rounds):
            take(products, rounds)
            said.last = (products, rounds)

    return changed


def _functions(path: Path) -> Kernel:
    """What works without ggml."""
    plugin = ctypes.CDLL(str(path))
    return Kernel(
        draw=plugin.swarmcode_draw, stride=plugin.swarmcode_stride, drafter=functools.partial(NativeDrafter, plugin)
    )


def _built() -> Path:
    """The plugin for this machine, compiled and proven if it is not there yet. Raises `_Unusable`."""
    if os.environ.get(SWITCH, "").strip().lower() in {"off", "0", "no", "false"}:
        raise _Unusable(f"{SWITCH} turns it off")
    compiler = shutil.which(os.environ.get("CXX", "")) or next(filter(None, map(shutil.which, ("c++", "g++"))), None)
    if compiler is None:
        raise _Unusable("there is no C++ compiler")
    headers = FOLDER.parent.parent / "include"
    if not (headers / "ggml-backend.h").exists():
        raise _Unusable(f"llama-cpp-python came without ggml's headers ({headers})")
    if not list(FOLDER.glob("libggml-base.so*")):
        raise _Unusable(f"llama-cpp-python came without ggml's libraries ({FOLDER})")
    folder = platformdirs.user_cache_path("swarmcode") / "kernels"
    target = folder / f"attention-{_digest(compiler)}.so"
    failed = target.with_suffix(".failed")
    try:
        if not target.exists() and not failed.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _build(compiler, headers, target, failed)
        if failed.exists():
            raise _Unusable(f"{failed.read_text(errors='replace').strip()} (remove {failed} to try again)")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unusable(f"it could not be built: {error}") from error
    return target


def _build(compiler: str, headers: Path, target: Path, failed: Path) -> None:
    """Makes the plugin, or writes down why there is none. What another process makes meanwhile is the same."""
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        plugin = Path(made) / "plugin.so"
        complaint = _compiled(compiler, headers, plugin)
        complaint = complaint or _failure("a trial", [sys.executable, "-m", _PROOF, str(plugin)], _PROVING)
        if complaint:
            failed.write_text(complaint)
        else:
            plugin.replace(target)


def _compiled(compiler: str, headers: Path, plugin: Path) -> str:
    """Makes the plugin, as many units at once as there are processors; what went wrong, or nothing."""
    objects = [plugin.with_name(unit).with_suffix(".o") for unit in _UNITS]

    def unit(source: str, made: Path) -> str:
        command = [compiler, *_FLAGS, f"-I{headers}", "-c", str(_SOURCE / source), "-o", str(made)]
        return _failure("compiling it", command, _COMPILING)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaint = next(filter(None, pool.map(unit, _UNITS, objects)), "")
    library = next(FOLDER.glob("libggml-base.so*"))
    linking = [compiler, *_FLAGS, "-shared", *map(str, objects), str(library), "-o", str(plugin)]
    return complaint or _failure("linking it", linking, _COMPILING)


_PROOF = "swarmcode.engine.llama.proof"


def _failure(what: str, argv: Sequence[str], seconds: float) -> str:
    """What went wrong; empty: nothing."""
    ran = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    if not ran.returncode:
        return ""
    lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()] or ["no reason given"]
    complaint = next((line for line in lines if "rror" in line), lines[-1])
    return f"{what} failed ({ran.returncode}): {complaint[:300]}"


def _digest(compiler: str) -> str:
    """Of all that a plugin depends on: its source, the compiler, this processor and the ggml that loads it."""
    known = hashlib.sha256()
    for path in sorted(_SOURCE.iterdir()):
        known.update(path.read_bytes())
    cpu = Path("/proc/cpuinfo").read_text(errors="replace") if Path("/proc/cpuinfo").exists() else platform.processor()
    features = next((line for line in cpu.splitlines() if line.startswith(("flags", "Features"))), cpu)
    for part in (compiler, *_FLAGS, platform.machine(), features, version("llama-cpp-python"), str(FOLDER)):
        known.update(part.encode() + b"\0")
    return known.hexdigest()[:16]
