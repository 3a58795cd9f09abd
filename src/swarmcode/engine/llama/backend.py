"""A model and a context of it in llama.cpp: computes the steps that the scheduler plans.

The KV cache has one of three layouts; all were measured with the embedded model on CPU cores:

- `streams`: every sequence has cells of its own, and sharing a prefix copies them. With the care that `ExactCells` and
  `Capacity.exact` take, what is computed for a sequence is bit for bit the same whatever else is in the batch, so equal
  requests with equal seeds give equal answers (verified on x86-64 with the embedded model; of weights with 32 bits a
  number the last digits differ). That holds with our attention (`attention.py`) and without flash attention, not with
  llama.cpp's own. Chosen for sequences of some hundred tokens where that is asked for.
- `flash`: as `streams`, with flash attention in any case, and without that care. Chosen while all streams fit, where
  attention is llama.cpp's.
- `unified`: all sequences share one pool of cells, and a shared prefix is stored once. With our attention it is as fast
  as streams, and chosen wherever exactness is not asked for. With llama.cpp's, steps are cut as `tiles.py` says, and it
  is chosen for long sequences, for which nothing else has room.

In the last two, sums depend on what is computed together and on where cells happen to lie: probabilities differ by a
thousandth from run to run, and 1 to 3 of 100 answers. Guessed tokens (`draft.py`) are therefore computed in these two
layouts alone: beside several tokens one is not summed as it is by itself, and in `streams` that would show.

Not covered: llama.cpp aborts the process where its own invariants break, and nothing here can catch that.
"""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from swarmcode.engine import budget, machine
from swarmcode.engine.backend import Bounds, Going, StepFailed, StepInterrupted, Strode
from swarmcode.engine.budget import Layout, Wish
from swarmcode.engine.cells import Cells, ExactCells, StreamCells, UnifiedCells
from swarmcode.engine.llama import attention, placing, weights
from swarmcode.engine.llama.batch import Batch
from swarmcode.engine.llama.drawing import Drawer
from swarmcode.engine.llama.grammar import Grammars, SchemaGrammar
from swarmcode.engine.llama.library import LOG, lib
from swarmcode.engine.llama.logits import Gathered
from swarmcode.engine.llama.stride import Strider
from swarmcode.engine.models import ModelFile
from swarmcode.engine.placement import Overrides
from swarmcode.engine.sampling import Draw, Drawn, Floats, Pick
from swarmcode.engine.step import Capacity, Step
from swarmcode.engine.tiles import Cost
from swarmcode.errors import EngineLost, ModelError


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
    overrides: Overrides = field(default_factory=Overrides)
    """Of where weights lie, and how."""


class LlamaBackend:
    """A model and one context of it. Implements `backend.Backend`."""

    def __init__(self, model: ModelFile, room: Room, abandoned: threading.Event) -> None:
        self._lock = threading.Lock()
        cpu = not lib.llama_supports_gpu_offload()
        self._kernel = attention.kernel()
        self._kernel.take(True, True)
        self._threads = room.threads or machine.cpus()
        self.drawer: Draw = Drawer(self._kernel.draw, self._threads)
        context = min(room.context or model.profile.context, model.profile.context)
        wish = Wish(
            agents=room.agents,
            context=context,
            cells=room.cells,
            layout=room.layout,
            cpu=cpu,
            pooled=bool(self._kernel),
            exact=room.exact,
        )
        place = placing.find(model, wish, room.overrides)
        self._model = weights.load(model, abandoned, place.placement, room.overrides)
        self._context: Any = None
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self.ends = frozenset(token for token in range(self.vocabulary) if lib.llama_vocab_is_eog(self._vocab, token))
        begin = int(lib.llama_vocab_bos(self._vocab))
        self.begin = (begin,) if lib.llama_vocab_get_add_bos(self._vocab) and begin >= 0 else ()
        self._pieces: dict[int, bytes] = {}
        self._grammars = Grammars(self.vocabulary, self.ends, self.piece, partial(self.tokenize, special=False))
        self._interrupted = ctypes.create_string_buffer(2)
        sharing = not (lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model))
        wish = replace(wish, sharing=sharing).settled(place.room)
        self._layout: Layout = wish.laid_out
        try:
            self.capacity = _capacity(model, wish, place.room)
            ours = self._open(self._threads)
            weights.adapt(self._model, self._context, model)
        except ModelError:
            self._free()
            raise
        cost = Cost.of(model.size, model.cell_bytes) if cpu and not ours else None
        self._cells = self._laid(_Memory(lib.llama_get_memory(self._context)), cost)
        self._batch = Batch(self.capacity.chunk + 1)
        self.strider = self._strider() if self._layout == "unified" and not cost else None
        self.strides = bool(self.strider)
        self.drafter = self._kernel.drafter

    def _strider(self) -> Strider | None:
        native, capacity = self._kernel.stride, self.capacity
        return native and Strider(
            native,
            self._context,
            self._batch,
            vocabulary=self.vocabulary,
            rows=min(capacity.chunk, capacity.reads),
            products_from=attention.PRODUCTS_FROM,
            threads=self._threads,
        )

    def _open(self, threads: int) -> bool:
        """Opens the context; whether our attention is used. Raises `ModelError`."""
        self._kernel.refused()
        self._prepare(attention.PRODUCTS_FROM)
        flash = lib.LLAMA_FLASH_ATTN_TYPE_AUTO if self._layout != "streams" else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = self._open_context(lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if self._kernel else flash, threads)
        ours = bool(self._kernel) and not self._kernel.refused()
        if self._kernel and not ours and self._layout == "streams":
            lib.llama_free(self._context)
            self._context = None
            self._context = self._open_context(flash, threads)
        return ours

    def _prepare(self, tokens: int) -> None:
        """Decides what of a step with so many tokens is ours. Of streams it is attention alone, which is not rounded:
        few tokens are multiplied by llama.cpp, which sums in another order."""
        pooled = self._layout != "streams"
        self._kernel.take(pooled and tokens >= attention.PRODUCTS_FROM, pooled)

    def _open_context(self, flash: int, threads: int) -> Any:
        capacity = self.capacity
        params = lib.llama_context_default_params()
        companion = self._layout == "streams"
        params.n_ctx = budget.allocated(capacity, self._layout)
        params.n_batch = params.n_ubatch = capacity.chunk + companion
        params.n_seq_max = capacity.seats + companion
        params.n_outputs_max = capacity.reads + companion
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = self._layout == "unified"
        params.flash_attn_type = flash
        # A function that the computing threads can call without Python: it tells whether the buffer is empty.
        params.abort_callback = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
        params.abort_callback_data = ctypes.addressof(self._interrupted)
        opened = lib.llama_init_from_model(self._model, params)
        if not opened:
            raise ModelError(
                f"no context of {capacity.cells} tokens could be made: {LOG.complaint()}",
                "ask for fewer agents or a shorter context",
            )
        return opened

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

    def grammar(self, schema: str) -> SchemaGrammar:
        return self._grammars.of(schema)

    def run(self, step: Step) -> Sequence[Floats]:
        gathered = Gathered(self.vocabulary)
        calls = self._cells.calls(step)
        for number, call in enumerate(calls, 1):
            self._batch.fill(call)
            self._prepare(len(call.rows))
            code = lib.llama_decode(self._context, self._batch.struct)
            if self._interrupted.value:
                raise StepInterrupted("the engine was closed")
            if code:
                raise StepFailed(f"llama_decode gave {code} for {len(call.rows)} tokens: {LOG.complaint()}")
            if reads := call.reads():
                gathered.add(reads, lib.llama_get_logits(self._context), last=number == len(calls))
        return gathered.of([read.row for read in step.reads])

    def draw(self, rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
        return self.drawer(rows, picks)

    def stride(self, step: Step, going: Sequence[Going], bounds: Bounds) -> Strode:
        assert self.strider
        (call,) = self._cells.calls(step)
        self._batch.fill(call)
        try:
            return self.strider(going, bounds)
        except StepFailed as failure:
            if self._interrupted.value:
                raise StepInterrupted("the engine was closed") from failure
            raise

    def call(self, waiting: bool) -> None:
        if self.strider:
            self.strider.called[0] = b"!" if waiting else b"\0"

    def interrupt(self) -> None:
        self._interrupted[0] = b"!"

    def close(self) -> None:
        with self._lock:
            if self._model:
                self._free()

    def _free(self) -> None:
        if self._context:
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


def _capacity(model: ModelFile, wish: Wish, room: int) -> Capacity:
    """As much as was asked for, as far as `room` tokens allow. Raises `ModelError`."""
    capacity = budget.capacity(wish, room)
    if capacity is None:
        raise ModelError(f"{model.path} leaves no memory for a context", "free some memory, or use a smaller model")
    return capacity
