"""Whether a model fits is said by the numbers by which the engine opens it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine import budget, machine
from swarmcode.engine.budget import Wish
from swarmcode.engine.card import Card, read
from swarmcode.engine.fit import Fit, fit
from swarmcode.engine.models import describe, resolve
from swarmcode.engine.placement import Host, Overrides, Placement, room, settle, weights_on_gpu
from swarmcode.engine.step import Read, Step

GB = 10**9
CELL = 70_272
"""Bytes a token: 61 layers of 576 numbers, as latent attention has them."""


def model(layers: int = 61, layer: int = 6 * GB, experts: float = 0.95, outside: int = 9 * GB) -> Card:
    """A large mixture of experts in 2 bits: 375 GB."""
    weights = layers * layer + outside
    return Card(
        architecture="deepseek2",
        parameters=10**12,
        active=32 * GB,
        experts=384,
        experts_used=8,
        layers=layers,
        trained_context=262_144,
        file_type="Q2_K",
        quantization={"Q2_K": weights},
        template=True,
        recurrent=False,
        files=8,
        size=weights,
        weights=weights,
        expert_weights=int(layers * layer * experts),
        layer_weights=(layer,) * layers,
    )


def asked(host: Host, agents: int = 100, context: int = 32_768, card: Card | None = None) -> Fit:
    return fit(card or model(), 262_144, CELL, host, Wish(agents=agents, context=context))


def test_a_large_model_in_host_memory() -> None:
    """100 agents share one pool: a whole context, and 2,048 tokens for each."""
    found = asked(Host(memory=512 * GB))
    assert (found.fits, found.why, found.layout, found.mapped, found.placement) == (True, "", "unified", False, None)
    assert found.capacity is not None
    assert (found.capacity.cells, found.capacity.context) == (32_768 + 100 * 2048, 32_768)
    assert found.kv_bytes == found.capacity.cells * CELL
    assert found.full == 7
    assert found.most_agents == 255


def test_a_pool_that_is_cut_does_not_fit() -> None:
    """It says how much there is and how much is needed, and how many agents would fit."""
    found = asked(Host(memory=model().size + 20 * GB))
    assert not found.fits
    assert found.why == "memory holds 142,304 tokens of context, and 237,568 are needed"
    assert found.most_agents == (142_304 - 32_768) // 2048 == 53
    assert asked(Host(memory=model().size + 20 * GB), agents=53).fits
    assert not asked(Host(memory=model().size + 20 * GB), agents=54).fits


def test_weights_that_memory_cannot_hold() -> None:
    """They would be mapped from disk; the engine refuses, as nothing is left for a context."""
    found = asked(Host(memory=300 * GB))
    assert (found.fits, found.mapped, found.capacity, found.kv_bytes, found.full) == (False, True, None, 0, 0)
    assert found.why == "the weights are larger than the memory that is free"
    assert found.most_agents == 0
    narrow = asked(Host(memory=model().size + 10_000_000))
    assert (narrow.fits, narrow.mapped, narrow.capacity) == (False, False, None)
    assert narrow.why == "the weights leave no memory for a context"


def test_more_context_than_the_model_has() -> None:
    """It would be cut to what the model can use, so it does not fit as asked."""
    found = asked(Host(memory=10**13), context=300_000)
    assert (found.fits, found.context) == (False, 262_144)
    assert found.why == "the model can use sequences of 262,144 tokens at most"


def test_contexts_that_are_not_long_lie_in_streams_with_flash_attention() -> None:
    """Where a quarter of the memory for a context holds all of them; not where a GPU computes, nor for recurrent
    models."""
    needed = (100 + budget.SPARE_SEATS) * 4096 * CELL * 2 * 4
    roomy, narrow = Host(memory=model().size + needed), Host(memory=model().size + needed - 10 * CELL)
    found = asked(roomy, context=4096)
    assert found.layout == "flash"
    assert found.capacity is not None
    assert (found.capacity.seats, found.capacity.exact) == (100 + budget.SPARE_SEATS, False)
    assert found.kv_bytes == found.capacity.seats * 4096 * CELL
    assert asked(narrow, context=4096).layout == "unified"
    small = Host(memory=model().size + 2 * CELL * 400_000)
    few = asked(small, agents=50, context=1000)
    assert (few.layout, few.most_agents, asked(small, agents=255, context=1000).layout) == ("flash", 255, "unified")
    tight = Host(memory=model().size + 2 * CELL * 200_000)
    assert asked(tight, agents=10, context=1000).layout == "flash"
    assert asked(tight, agents=10, context=1000).most_agents == 199
    assert asked(tight, agents=199, context=1000).fits
    assert not asked(tight, agents=200, context=1000).fits
    assert asked(roomy, context=4097).layout == "unified"
    assert asked(replace(roomy, gpus=1), context=4096).layout == "unified"
    recurrent = replace(model(), recurrent=True)
    assert asked(roomy, context=4096, card=recurrent).layout == "unified"


def test_short_contexts_need_no_exactness_where_speed_is_asked_for() -> None:
    """Then they have flash attention, as longer ones do."""
    wish = Wish(agents=10, context=512)
    assert wish.settled(10**9).laid_out == "streams"
    assert replace(wish, exact=False).settled(10**9).laid_out == "flash"


def test_with_our_attention_one_pool_is_enough() -> None:
    """Whatever the context, but where exactness is asked for."""
    wish = Wish(agents=10, context=512, pooled=True, exact=False)
    assert wish.settled(10**9).laid_out == "unified"
    assert replace(wish, context=4096).settled(10**9).laid_out == "unified"
    assert replace(wish, exact=True).settled(10**9).laid_out == "streams"
    assert replace(wish, layout="flash").settled(10**9).laid_out == "flash"


def test_short_contexts_lie_in_streams() -> None:
    """With as many seats as there can be, if memory allows, and one stream more for the companion; not for recurrent
    models."""
    found = asked(Host(memory=10**13), agents=10, context=512)
    assert found.layout == "streams"
    assert found.capacity is not None
    assert (found.capacity.seats, found.capacity.cells) == (budget.MAX_SEATS, budget.MAX_SEATS * 512)
    assert found.kv_bytes == (budget.MAX_SEATS + 1) * 512 * CELL
    assert found.full == 10
    least = model().size + 2 * 10 * 512 * CELL
    assert asked(Host(memory=least), agents=10, context=512).fits
    assert not asked(Host(memory=least - 2 * CELL), agents=10, context=512).fits
    recurrent = replace(model(), recurrent=True)
    assert asked(Host(memory=10**13), agents=10, context=512, card=recurrent).layout == "unified"


def test_what_goes_to_a_gpu() -> None:
    """All of it; else all but the experts, where host memory has room for those; else the last layers, the output
    first; the cache counted twice, and each layer's beside it."""
    pool = 100_000
    kv = pool * CELL
    everything = model().weights + 2 * kv

    def placed(gpu: int, memory: int = 10**13, card: Card | None = None, **decided: Any) -> Placement:
        host = Host(memory=memory, gpus=1, gpu_memory=gpu)
        return settle(card or model(), host, CELL, pool, 4096, Overrides(**decided))

    assert placed(everything) == Placement(gpu_layers=62)
    assert placed(everything - CELL) == Placement(gpu_layers=62, experts_on_host=True)
    assert placed(80 * GB) == Placement(gpu_layers=62, experts_on_host=True)
    some = placed(40 * GB, experts="gpu")
    assert some == Placement(gpu_layers=1 + (40 - 9) * GB // (6 * GB + 2 * kv // 61))
    assert placed(80 * GB, memory=320 * GB).gpu_layers in range(1, 62), "host memory has no room for the experts of all"
    dense = replace(model(), experts=0, expert_weights=0)
    assert placed(80 * GB, card=dense).experts_on_host is False
    assert placed(9 * GB, experts="gpu") == Placement(gpu_layers=1)
    assert placed(9 * GB - 1, experts="gpu") == Placement(gpu_layers=0)
    assert placed(everything, experts="host") == Placement(gpu_layers=62, experts_on_host=True)
    assert placed(everything, gpu_layers=7) == Placement(gpu_layers=7)
    assert placed(everything, gpu_layers=999, experts="host") == Placement(gpu_layers=62, experts_on_host=True)


def test_a_cache_that_is_cut_keeps_everything_on_the_gpu() -> None:
    """Where no place holds what all agents may need, the fastest one that holds a whole sequence is taken."""
    dense = replace(model(layers=10, layer=GB, outside=GB), experts=0, expert_weights=0)
    host = Host(memory=12 * GB, gpus=1, gpu_memory=14 * GB)
    assert settle(dense, host, CELL, 10**9, 4096, Overrides()) == Placement(gpu_layers=11)
    assert room(dense, Placement(gpu_layers=11), host, CELL) == 3 * GB // 2 // CELL
    least = settle(dense, Host(memory=12 * GB, gpus=1, gpu_memory=GB // 2), CELL, 10**9, 10**6, Overrides())
    assert least == Placement(gpu_layers=0)


def test_a_large_model_on_one_gpu() -> None:
    """A hundred agents on experts in host memory; without that memory it does not fit, and why is said."""
    roomy = Host(memory=512 * GB, gpus=4, gpu_memory=500 * GB)
    assert asked(roomy).fits
    assert asked(roomy).placement == Placement(gpu_layers=62)
    found = asked(replace(roomy, gpus=1, gpu_memory=80 * GB))
    assert found.fits
    assert found.placement == Placement(gpu_layers=62, experts_on_host=True)
    assert found.capacity is not None
    assert found.capacity.cells == 32_768 + 100 * 2048
    narrow = asked(Host(memory=300 * GB, gpus=1, gpu_memory=24 * GB))
    assert not narrow.fits
    assert narrow.why == "the weights are larger than the memory that is free"


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(1, 10**6),
    st.integers(1, 10**7),
    st.sampled_from([None, 0, 1, 30, 62, 99]),
    st.sampled_from(["auto", "gpu", "host"]),
)
def test_what_is_placed_fits_where_it_is_placed(
    memory: int, gpu: int, cell: int, pool: int, layers: int | None, experts: Any
) -> None:
    """Weights and twice the cache that there is room for, on GPUs and in host memory."""
    card, host = model(), Host(memory=memory, gpus=1, gpu_memory=gpu)
    placed = settle(card, host, cell, pool, 4096, Overrides(gpu_layers=layers, experts=experts))
    tokens = room(card, placed, host, cell)
    if tokens < 0:
        return
    there = min(61, max(0, placed.gpu_layers - 1))
    assert weights_on_gpu(card, placed) + 2 * tokens * cell * there // 61 <= gpu
    assert card.size - weights_on_gpu(card, placed) + 2 * tokens * cell * (61 - there) // 61 <= memory


@given(
    st.integers(1, 255),
    st.integers(1, 300_000),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(1, 10**6),
    st.booleans(),
)
def test_the_arithmetic_holds_everywhere(
    agents: int, context: int, memory: int, gpu: int, cell: int, recurrent: bool
) -> None:
    """What fits is not cut and lies within half of what the weights leave; one agent more than most does not fit."""
    card = replace(model(layers=2, layer=10 * GB), recurrent=recurrent)
    host = Host(memory=memory, gpus=bool(gpu), gpu_memory=gpu)
    wish = Wish(agents=agents, context=context)
    found = fit(card, 262_144, cell, host, wish)
    assert found.fits == (not found.why)
    if found.capacity is None:
        assert not found.fits
    if found.fits:
        assert found.capacity is not None
        assert found.capacity.context == context
        assert found.capacity.running == agents <= found.most_agents
        assert gpu or found.capacity.cells * cell <= (memory - card.size) / 2
    if not gpu and context <= 262_144:
        assert found.fits == (agents <= found.most_agents)
        if found.most_agents < budget.MAX_SEATS:
            assert not fit(card, 262_144, cell, host, replace(wish, agents=found.most_agents + 1)).fits


@pytest.mark.model
@pytest.mark.parametrize(("agents", "context", "streams"), [(3, 512, True), (100, 256, True), (5, 4096, False)])
def test_the_engine_opens_what_was_foretold(chat_gguf: Path, agents: int, context: int, streams: bool) -> None:
    """The same seats, cells and layout, for the embedded model and for one that chats."""
    from swarmcode.engine.llama.attention import kernel
    from swarmcode.engine.llama.backend import LlamaBackend, Room

    file = resolve("repair") if streams else describe(chat_gguf)
    wish = Wish(agents=agents, context=context, pooled=bool(kernel()))
    foretold = budget.capacity(wish, budget.affordable(machine.memory(), file.size, file.cell_bytes))
    backend = LlamaBackend(file, Room(agents=agents, context=context), threading.Event())
    try:
        assert backend.capacity == foretold
        assert backend.capacity.exact == (wish.laid_out == "streams") == streams
    finally:
        backend.close()


SMI = """#!/bin/sh
echo '0, GPU-aa11, NVIDIA H200, 143771, 143000'
echo '1, GPU-bb22, NVIDIA H200, 143771, 1000'
echo 'a line of nonsense'
echo '2, GPU-cc33, [N/A], [N/A], [N/A]'
"""


@pytest.fixture
def smi(tmp_path: Path) -> Callable[[str | None], list[int]]:
    """Free MiB of the cards that a process sees with this CUDA_VISIBLE_DEVICES."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)

    def free(visible: str | None) -> list[int]:
        environ = {"PATH": f"{tmp_path / 'bin'}:/bin:/usr/bin"}
        if visible is not None:
            environ["CUDA_VISIBLE_DEVICES"] = visible
        return [card.free >> 20 for card in machine.cards(environ, tmp_path)]

    return free


@pytest.mark.parametrize(
    ("visible", "free"),
    [(None, [143_000, 1000]), ("1", [1000]), ("GPU-aa", [143_000]), ("", []), ("-1", []), ("0,1", [143_000, 1000])],
)
def test_nvidia_cards(
    smi: Callable[[str | None], list[int]],
    visible: str | None,
    free: list[int],
) -> None:
    """As their driver lists them, as far as the environment lets a process see them; what is no card is left out."""
    assert smi(visible) == free


def test_amd_cards(tmp_path: Path) -> None:
    """As /sys has them."""
    for name, total in (("card0", "1000"), ("card1", "none")):
        device = tmp_path / name / "device"
        device.mkdir(parents=True)
        (device / "mem_info_vram_total").write_text(f"{total}\n")
        (device / "mem_info_vram_used").write_text("300\n")
    (found,) = machine.cards({"PATH": str(tmp_path)}, tmp_path)
    assert (found.vendor, found.name, found.total, found.free) == ("amd", "AMD GPU", 1000, 700)


def test_a_card_counts_where_llama_cpp_was_built_for_it() -> None:
    """The back ends that the installed package brings are among those that it was built for; the CPU always is."""
    assert machine.gpus(frozenset({"cpu"})) == ()
    assert len(machine.gpus(frozenset({"cuda", "hip"}))) == len(machine.cards())
    assert "cpu" in machine.backends()


def test_memory_nodes(tmp_path: Path) -> None:
    assert machine.memory_nodes(tmp_path) == 1
    for name in ("node0", "node1", "possible"):
        (tmp_path / name).mkdir()
    assert machine.memory_nodes(tmp_path) == 2


@pytest.mark.model
def test_the_engine_puts_a_model_where_it_was_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a card that is not there: what is told to llama.cpp, and a cache that its memory has room for."""
    from swarmcode.engine.llama import weights
    from swarmcode.engine.llama.backend import LlamaBackend, Room

    file = resolve("repair")
    card = read(file.path)
    host = Host(memory=10 * GB, gpus=1, gpu_memory=card.weights - card.expert_weights + 2 * 3000 * file.cell_bytes)
    monkeypatch.setattr(machine, "host", lambda: host)
    told: list[Any] = []
    load = weights.lib.llama_model_load_from_file

    def spy(path: bytes, params: Any) -> Any:
        told.append((params.n_gpu_layers, bool(params.tensor_buft_overrides)))
        return load(path, params)

    monkeypatch.setattr(weights.lib, "llama_model_load_from_file", spy)
    foretold = fit(card, file.profile.context, file.cell_bytes, host, Wish(agents=4, context=512))
    assert foretold.placement == Placement(gpu_layers=card.layers + 1, experts_on_host=True)
    backend = LlamaBackend(file, Room(agents=4, context=512, layout="streams"), threading.Event())
    try:
        assert told == [(card.layers + 1, True)]
        assert foretold.capacity is not None
        assert backend.capacity == foretold.capacity
        assert backend.capacity.cells <= 3000
    finally:
        backend.close()


@pytest.mark.model
@pytest.mark.parametrize(
    "overrides",
    [Overrides(experts="host"), Overrides(gpu_layers=3, experts="host", mmap="off"), Overrides(mmap="on", numa="off")],
)
def test_what_a_person_decides_is_taken(overrides: Overrides, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp is told, and the model says the same."""
    from swarmcode.engine.llama import weights
    from swarmcode.engine.llama.backend import LlamaBackend, Room

    told: list[Any] = []
    load = weights.lib.llama_model_load_from_file

    def spy(path: bytes, params: Any) -> Any:
        told.append((params.n_gpu_layers, bool(params.tensor_buft_overrides), params.load_mode))
        return load(path, params)

    monkeypatch.setattr(weights.lib, "llama_model_load_from_file", spy)
    rows = []
    for decided in (Overrides(), overrides):
        backend = LlamaBackend(resolve("repair"), Room(agents=2, overrides=decided), threading.Event())
        step = Step(tokens=[7, 8], positions=[0, 1], seats=[0, 0], reads=[Read(1, [0])])
        rows.append(backend.run(step)[0].copy())
        backend.close()
    assert (rows[0] == rows[1]).all()
    host = overrides.experts == "host"
    layers = (overrides.gpu_layers or read(resolve("repair").path).layers + 1) if host else -1
    assert told == [(-1, False, -1), (layers, host, {"auto": -1, "on": 1, "off": 0}[overrides.mmap])]
