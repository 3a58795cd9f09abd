"""llama.cpp, through llama-cpp-python's low-level functions: the only place that knows either.

The KV cache has one of three layouts; all were measured with the embedded model on CPU cores:

- `streams`: every sequence has cells of its own, and sharing a prefix copies them. Without flash attention, and with
  the care that `ExactCells` and `Capacity.exact` take, what is computed for a sequence is bit for bit the same
  whatever else is in the batch, so equal requests with equal seeds give equal answers (verified on x86-64 with the
  embedded model; of weights with 32 bits a number the last digits differ). Chosen for sequences of some hundred tokens
  where that is asked for.
- `flash`: as `streams`, with flash attention and without that care. A sequence is computed with its own cells alone:
  a hundred that share nothing take a fifth of the time that they take in one pool. Chosen while all streams fit.
- `unified`: all sequences share one pool of cells, and a shared prefix is stored once. With flash attention; steps are
  cut as `tiles.py` says. The only one that has room for long sequences.

Where flash attention is used, sums depend on what is computed together and on where cells happen to lie: probabilities
differ by a thousandth from run to run, and 1 to 3 of 100 answers. Guessed tokens (`draft.py`) are therefore computed in
these two layouts alone: beside several tokens one is not summed as it is by itself, and in `streams` that would show.

Not covered: llama.cpp aborts the process where its own invariants break, and nothing here can catch that.
"""

import asyncio
import ctypes
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine import budget, machine
from swarmcode.engine.batched import BatchedEngine
from swarmcode.engine.budget import Layout, Wish
from swarmcode.engine.call import Call
from swarmcode.engine.cells import Cells, ExactCells, StreamCells, UnifiedCells
from swarmcode.engine.models import ModelFile
from swarmcode.engine.step import Capacity, Step
from swarmcode.engine.tiles import Cost
from swarmcode.engine.worker import StepFailed
from swarmcode.errors import EngineLost, ModelError, UsageError

# How often a thread looks before it sleeps at a barrier; read once, when the libraries are loaded. By default it looks
# for some 15 ms, and what it waits for may be a thread that the tests running beside it have displaced: on two cores,
# two busy processes made a step ten times slower that way. 50 us cost nothing on a quiet machine.
if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

import llama_cpp.llama_cpp as lib
from llama_cpp import llama_grammar

_FLASH = {
    "streams": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    "flash": lib.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "unified": lib.LLAMA_FLASH_ATTN_TYPE_AUTO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How a model is opened. What is 0 or None is chosen by the model and the machine."""

    agents: int = 100
    """Sequences that are computed at once."""
    context: int = 0
    """Longest sequence in tokens, at most what the model's profile says: just that, as far as memory allows."""
    cells: int = 0
    """Tokens that a `unified` KV cache holds: the context and some thousand for each agent, as far as memory allows."""
    layout: Layout | None = None
    """By the context."""
    exact: bool = True
    """Whether short answers depend on nothing else in the batch, to the last bit; without, they come sooner."""
    threads: int = 0
    """As many as this process may use."""


async def open_engine(
    model: ModelFile,
    *,
    agents: int = 100,
    context: int = 0,
    cells: int = 0,
    layout: Layout | None = None,
    exact: bool = True,
    threads: int = 0,
    drafting: bool = True,
) -> BatchedEngine:
    """Loads a model; the options are those of `Room` and of `BatchedEngine`. Cancelling stops the loading.

    Raises `UsageError` for more agents than llama.cpp can tell apart, `ModelError` where the model cannot be opened.
    """
    if not 0 < agents <= budget.MAX_SEATS:
        raise UsageError(f"{agents} agents cannot run at once", f"ask for 1 to {budget.MAX_SEATS}")
    room = Room(agents=agents, context=context, cells=cells, layout=layout, exact=exact, threads=threads)
    abandoned = threading.Event()
    open_backend = partial(LlamaBackend, model, room, abandoned)
    loading = asyncio.get_running_loop().run_in_executor(None, open_backend)
    try:
        backend = await asyncio.shield(loading)
    except asyncio.CancelledError:
        abandoned.set()
        await asyncio.wait([loading])
        if not loading.exception():
            loading.result().close()
        raise
    return BatchedEngine(backend, model.profile, drafting=drafting)


class LlamaBackend:
    """A model and one context of it. Implements `worker.Backend`."""

    def __init__(self, model: ModelFile, room: Room, abandoned: threading.Event) -> None:
        self._lock = threading.Lock()
        self._model = _load(model, abandoned)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self.ends = frozenset(token for token in range(self.vocabulary) if lib.llama_vocab_is_eog(self._vocab, token))
        begin = int(lib.llama_vocab_bos(self._vocab))
        self.begin = (begin,) if lib.llama_vocab_get_add_bos(self._vocab) and begin >= 0 else ()
        self._pieces: dict[int, bytes] = {}
        self._interrupted = ctypes.create_string_buffer(2)
        sharing = not (lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model))
        context = min(room.context or model.profile.context, model.profile.context)
        affordable = budget.affordable(machine.memory(), model.size, model.cell_bytes)
        wish = Wish(
            agents=room.agents,
            context=context,
            cells=room.cells,
            sharing=sharing,
            layout=room.layout,
            cpu=not lib.llama_supports_gpu_offload(),
            exact=room.exact,
        ).settled(affordable)
        self._layout: Layout = wish.laid_out
        try:
            self.capacity = _capacity(model, wish, affordable)
            self._context = self._open_context(room.threads or machine.cpus())
            self._adapt(model)
        except ModelError:
            lib.llama_model_free(self._model)
            raise
        cost = Cost.of(model.size, model.cell_bytes) if wish.cpu else None
        self._cells = self._laid(_Memory(lib.llama_get_memory(self._context)), cost)
        self._batch = _Batch(self.capacity.chunk + 1)

    def _open_context(self, threads: int) -> Any:
        capacity = self.capacity
        params = lib.llama_context_default_params()
        companion = self._layout == "streams"
        params.n_ctx = budget.allocated(capacity, self._layout)
        params.n_batch = params.n_ubatch = capacity.chunk + companion
        params.n_seq_max = capacity.seats + companion
        params.n_outputs_max = capacity.reads + companion
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = self._layout == "unified"
        params.flash_attn_type = _FLASH[self._layout]
        # A function that the computing threads can call without Python: it tells whether the buffer is empty.
        params.abort_callback = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
        params.abort_callback_data = ctypes.addressof(self._interrupted)
        opened = lib.llama_init_from_model(self._model, params)
        if not opened:
            raise ModelError(
                f"no context of {capacity.cells} tokens could be made: {_LOG.complaint()}",
                "ask for fewer agents or a shorter context",
            )
        return opened

    def _adapt(self, model: ModelFile) -> None:
        """Puts the model's adapter over it, which is freed with the model. Raises `ModelError`."""
        if model.adapter is None:
            return
        adapter = lib.llama_adapter_lora_init(self._model, os.fsencode(model.adapter))
        adapters, scales = (lib.llama_adapter_lora_p_ctypes * 1)(adapter), (ctypes.c_float * 1)(1.0)
        if not adapter or lib.llama_set_adapters_lora(self._context, adapters, 1, scales):
            lib.llama_free(self._context)
            raise ModelError(
                f"llama.cpp cannot use the adapter {model.adapter} with {model.path}: {_LOG.complaint()}",
                "use the model that the adapter was trained on",
            )

    def _laid(self, memory: "_Memory", cost: Cost | None) -> Cells:
        if self._layout == "unified":
            return UnifiedCells(memory, cost)
        return (ExactCells if self._layout == "streams" else StreamCells)(memory, self.capacity.seats)

    def tokenize(self, text: str, special: bool) -> tuple[int, ...]:
        data = text.encode("utf-8", errors="replace")
        room = len(data) + 16
        with self._lock:
            self._check_open()
            found = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocab, data, len(data), found, room, False, special)
            if count < 0:
                found = (lib.llama_token * -count)()
                count = lib.llama_tokenize(self._vocab, data, len(data), found, -count, False, special)
        return tuple(found[:count])

    def piece(self, token: int) -> bytes:
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._spell(token) if 0 <= token < self.vocabulary else b""
        return known

    def _spell(self, token: int) -> bytes:
        with self._lock:
            self._check_open()
            buffer = ctypes.create_string_buffer(64)
            count = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
            if count < 0:
                buffer = ctypes.create_string_buffer(-count)
                count = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[:count]

    def grammar(self, schema: str) -> "LlamaGrammar":
        with self._lock:
            self._check_open()
            return LlamaGrammar(self._vocab, self.vocabulary, schema)

    def run(self, step: Step) -> Sequence[NDArray[np.float32]]:
        rows: dict[int, NDArray[np.float32]] = {}
        calls = self._cells.calls(step)
        for number, call in enumerate(calls, 1):
            wanted = self._batch.fill(call)
            code = lib.llama_decode(self._context, self._batch.struct)
            if self._interrupted.value:
                raise StepFailed("the engine was closed")
            if code:
                raise StepFailed(f"llama_decode gave {code} for {call.rows.size} tokens: {_LOG.complaint()}")
            if wanted.size:
                shape = (wanted.size, self.vocabulary)
                logits = np.ctypeslib.as_array(lib.llama_get_logits(self._context), shape=shape)
                rows.update(zip(wanted.tolist(), logits if number == len(calls) else logits.copy(), strict=True))
        return [rows[read.row] for read in step.reads]

    def interrupt(self) -> None:
        self._interrupted[0] = b"!"

    def close(self) -> None:
        with self._lock:
            if self._model:
                lib.llama_free(self._context)
                lib.llama_model_free(self._model)
                self._model = None

    def _check_open(self) -> None:
        if not self._model:
            raise EngineLost("the engine was closed", "run it again")


class _Memory:
    """Implements `cells.Memory`."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    def copy(self, source: int, target: int, length: int = -1) -> None:
        lib.llama_memory_seq_cp(self._memory, source, target, -1 if length < 0 else 0, length)

    def cut(self, sequence: int, length: int) -> None:
        lib.llama_memory_seq_rm(self._memory, sequence, length, -1)


class LlamaGrammar:
    """Which tokens keep a text within a JSON schema. Implements `worker.Grammar`.

    llama.cpp's grammar sampler judges the whole vocabulary for each token of the answer: some milliseconds where the
    vocabulary is large, for the answers that ask for it alone.
    """

    def __init__(self, vocab: Any, vocabulary: int, schema: str) -> None:
        try:
            rules = llama_grammar.json_schema_to_gbnf(schema)
        except (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError) as error:
            raise ModelError(f"the schema cannot be turned into a grammar: {error}", "simplify the schema") from error
        _LOG.complaints.clear()
        self._sampler = lib.llama_sampler_init_grammar(vocab, rules.encode(), b"root")
        if not self._sampler:
            raise ModelError(f"the schema makes no valid grammar: {_LOG.complaint()}", "simplify the schema")
        self._followed = 0
        self._data = np.zeros(vocabulary, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self._data["id"] = np.arange(vocabulary)
        pointer = self._data.ctypes.data_as(lib.llama_token_data_p)
        self._array = lib.llama_token_data_array(pointer, vocabulary, -1, False)

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        """As in `Constraint`, but `generated` must go on from what the last call was given."""
        for token in generated[self._followed :]:
            lib.llama_sampler_accept(self._sampler, token)
        self._followed = len(generated)
        self._data["logit"] = 0.0
        lib.llama_sampler_apply(self._sampler, ctypes.byref(self._array))
        mask: NDArray[np.bool_] = self._data["logit"] > -np.inf
        return mask

    def close(self) -> None:
        if self._sampler:
            lib.llama_sampler_free(self._sampler)
            self._sampler = None


class _Batch:
    """The arrays that llama.cpp reads a step from."""

    def __init__(self, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._ids = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        integers = ctypes.POINTER(ctypes.c_int32)
        first = self._ids.ctypes.data
        self._id_pointers = (integers * size)(
            *(ctypes.cast(first + index * self._ids.itemsize, integers) for index in range(size))
        )
        self.struct = lib.llama_batch(
            0,
            self._tokens.ctypes.data_as(integers),
            None,
            self._positions.ctypes.data_as(integers),
            self._counts.ctypes.data_as(integers),
            self._id_pointers,
            self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, call: Call) -> NDArray[np.intp]:
        """Puts the call in; which rows of the step it gives logits of, in order."""
        count = call.rows.size
        self._tokens[:count] = call.tokens
        self._positions[:count] = call.positions
        self._ids[:count] = call.ids
        self._wanted[:count] = call.wanted
        self.struct.n_tokens = count
        return call.rows[call.wanted > 0]


class _Log:
    """Takes what llama.cpp would print, and remembers its last complaints."""

    _ERROR, _CONTINUED = 4, 5  # ggml_log_level
    _NOISE = (
        "llama_model_load: ",
        "error loading model: ",
        "llama_model_load_from_file_impl: ",
        "gguf_init_from_file_impl: ",
    )

    def __init__(self) -> None:
        self.complaints: deque[str] = deque(maxlen=16)
        self._level = 0
        self._callback = lib.llama_log_callback(self._take)  # collected while in use, it would crash the process

    def listen(self) -> None:
        lib.llama_log_set(self._callback, None)
        self.complaints.clear()

    def complaint(self) -> str:
        """The first of the last errors, which are then forgotten: what follows it are consequences."""
        first = self.complaints[0] if self.complaints else "llama.cpp gives no reason"
        self.complaints.clear()
        return first

    def _take(self, level: int, text: bytes, data: object) -> None:
        self._level = self._level if level == self._CONTINUED else level
        line = " ".join(text.decode("utf-8", errors="replace").split())
        for noise in self._NOISE:
            line = line.removeprefix(noise)
        if self._level == self._ERROR and line:
            self.complaints.append(line)


_LOG = _Log()


def _load(model: ModelFile, abandoned: threading.Event) -> Any:
    """The model's weights. Raises `ModelError`."""
    _LOG.listen()
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    keep = lib.llama_progress_callback(lambda progress, data: not abandoned.is_set())
    params.progress_callback = keep
    loaded = lib.llama_model_load_from_file(os.fsencode(model.path), params)
    if not loaded:
        raise ModelError(f"llama.cpp cannot load {model.path}: {_LOG.complaint()}", "get the file again, or another")
    if lib.llama_model_has_encoder(loaded) or not lib.llama_model_has_decoder(loaded):
        lib.llama_model_free(loaded)
        raise ModelError(f"{model.path} does not generate text by itself", "use a decoder-only language model")
    return loaded


def _capacity(model: ModelFile, wish: Wish, affordable: int) -> Capacity:
    """As much as was asked for, as far as memory allows: half of what the weights leave. Raises `ModelError`."""
    capacity = budget.capacity(wish, affordable)
    if capacity is None:
        raise ModelError(f"{model.path} leaves no memory for a context", "free some memory, or use a smaller model")
    return capacity
