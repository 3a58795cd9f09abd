"""Our attention: what it computes, on what that does not depend, and that it is used only where it is proven."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmcode.engine.budget import Layout
from swarmcode.engine.llama import attention
from swarmcode.engine.llama.attention import Kernel, kernel
from swarmcode.engine.llama.backend import LlamaBackend, Room
from swarmcode.engine.llama.library import lib
from swarmcode.engine.llama.proof import CLOSE, ROUNDED, Mask, Sizes, attended, decoding, expected, trials
from swarmcode.engine.models import resolve

pytestmark = pytest.mark.model

LATENT = Sizes(keys=128, values=96, heads=6, groups=1, shared=True)
"""As in the embedded model: all heads see one latent vector a token, whose first numbers are its value."""
GROUPED = Sizes(keys=64, values=64, heads=8, groups=2)
ODD = Sizes(keys=72, values=40, heads=6, groups=3)
ADDED = Sizes(keys=64, values=64, heads=4, groups=1, added=True)
"""Masks that add to scores."""


@pytest.fixture
def ours() -> Iterator[Kernel]:
    """It rounds no numbers."""
    found = kernel()
    assert found, found.why_not
    found.take(True, False)
    yield found
    found.take(True, True)


def causal(tokens: int, before: int) -> Mask:
    """(1, tokens, cells) of one sequence that goes on behind so many tokens."""
    cells = -(-(before + tokens) // 256) * 256
    return (np.arange(cells) <= before + np.arange(tokens)[:, None])[None]


def filled(*lengths: int) -> Mask:
    """(streams, 1, cells): a token of each sequence, which sees so many."""
    cells = -(-max(lengths) // 256) * 256
    return np.arange(cells) < np.array(lengths)[:, None, None]


def off(ours: Kernel, sizes: Sizes, mask: Mask, threads: int = 2) -> float:
    return float(np.abs(attended(ours, sizes, mask, threads) - expected(sizes, mask)).max())


MASKS = {
    "first": causal(1, 0),
    "prompt": causal(37, 0),
    "continued": causal(200, 411),
    "streams": filled(700, 1, 64, 65, 512),
    "few": decoding(9, 130, 3)[None],
    "many": decoding(70, 512, 20)[None],
    "scattered": np.random.default_rng(0).random((2, 40, 300)) < 0.03,
    "two prompts": np.concatenate((causal(5, 20), causal(5, 200)), axis=1),
    "drafted": np.repeat(decoding(5, 200, 40), 9, axis=0)[None],
}
"""The last: sequences of which several tokens are computed, who see nearly the same."""


def seen(name: str) -> Mask:
    """A mask by which every token sees something."""
    mask = MASKS[name].copy()
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize("sizes", [LATENT, GROUPED, ODD, ADDED], ids=["latent", "grouped", "odd", "added"])
@pytest.mark.parametrize("name", MASKS)
def test_it_is_attention(ours: Kernel, sizes: Sizes, name: str) -> None:
    """As numpy computes it in f64, for each sort of cache and each sort of model."""
    assert off(ours, sizes, seen(name)) < CLOSE


@pytest.mark.parametrize("sizes", [LATENT, GROUPED, ODD, ADDED], ids=["latent", "grouped", "odd", "added"])
@pytest.mark.parametrize("name", MASKS)
def test_it_may_round(ours: Kernel, sizes: Sizes, name: str) -> None:
    """To numbers of eight bits, whose sums are still exact: off by some thousandths of what values are of."""
    ours.take(True, True)
    mask = seen(name)
    right = expected(sizes, mask)
    wrong = attended(ours, sizes, mask) - right
    assert np.abs(wrong).max() < ROUNDED
    assert np.sqrt(np.square(wrong).mean()) < 0.005 * np.sqrt(np.square(right).mean())


@pytest.mark.parametrize("number", range(len(list(trials()))))
def test_the_trials_pass(ours: Kernel, number: int) -> None:
    sizes, mask = list(trials())[number]
    assert off(ours, sizes, mask) < CLOSE


def test_long_keys_and_many_heads(ours: Kernel) -> None:
    """The sizes of Kimi K2."""
    assert off(ours, Sizes(keys=576, values=512, heads=64, groups=1, shared=True), causal(3, 900)) < CLOSE


@pytest.mark.parametrize("rounding", [False, True], ids=["whole", "rounded"])
def test_the_number_of_threads_changes_no_bit(ours: Kernel, rounding: bool) -> None:
    ours.take(True, rounding)
    for mask in (causal(150, 600), filled(900), filled(900, 30), decoding(40, 512, 6)[None]):
        one, two, many = (attended(ours, LATENT, mask, threads) for threads in (1, 2, 7))
        assert np.array_equal(one, two)
        assert np.array_equal(one, many)


@pytest.mark.parametrize("rounding", [False, True], ids=["whole", "rounded"])
def test_what_is_computed_beside_a_stream_changes_no_bit(ours: Kernel, rounding: bool) -> None:
    """Neither other streams, nor how many of its own tokens are computed at once."""
    ours.take(True, rounding)
    prompt, streams = causal(200, 0), filled(900, 30, 517)
    whole, together = attended(ours, LATENT, prompt), attended(ours, LATENT, streams)
    for first, last in ((0, 1), (63, 65), (100, 200), (199, 200)):
        part = attended(ours, LATENT, prompt, part=(slice(None), slice(first, last)))
        assert np.array_equal(part, whole[:, first:last])
    for stream in range(3):
        alone = attended(ours, LATENT, streams, part=(slice(stream, stream + 1), slice(None)))
        assert np.array_equal(alone, together[stream : stream + 1])


def asked() -> Kernel:
    """As in a process that asks for the first time."""
    return attention._kernel.__wrapped__()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and the usual compiler."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(attention.SWITCH, raising=False)
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache" / "swarmcode" / "kernels"


def compiler(path: Path, *lines: str) -> Path:
    """A program in place of a compiler; `$out` is what it is to make."""
    script = ("#!/bin/sh", 'echo x >> "$0.calls"', 'while [ "$1" != -o ]; do shift; done', 'out="$2"', *lines)
    path.write_text("\n".join(script) + "\n")
    path.chmod(0o755)
    return path


def test_it_is_compiled_once(cache: Path) -> None:
    assert attention._built() == attention._built()
    (made,) = cache.iterdir()
    assert made.suffix == ".so"


def test_what_fails_a_trial_is_not_used(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not tried again, until somebody says so."""
    library = next(attention.FOLDER.glob("libggml-base.so*"))
    program = compiler(tmp_path / "c++", f'cp "{library}" "$out"')
    monkeypatch.setenv("CXX", str(program))
    for _ in range(2):
        found = asked()
        assert not found
        assert "a trial failed" in found.why_not
    once = (tmp_path / "c++.calls").read_text()
    (failed,) = cache.iterdir()
    assert str(failed) in found.why_not
    failed.unlink()
    assert not asked()
    assert (tmp_path / "c++.calls").read_text() == 2 * once


def test_a_compiler_that_fails_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(compiler(tmp_path / "c++", "echo 'fatal error: no room' >&2", "exit 4")))
    assert "compiling it failed (4): fatal error: no room" in asked().why_not


def test_without_a_compiler_there_is_none(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asked().why_not == "there is no C++ compiler"
    assert not cache.exists()


def test_it_can_be_turned_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(attention.SWITCH, "off")
    assert attention.SWITCH in asked().why_not
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_is_no_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    assert "it could not be built" in asked().why_not


@pytest.mark.parametrize("layout", ["streams", "unified"])
def test_what_it_does_not_take_llama_cpp_computes(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a model of another sort of attention: `streams` stays exact, a pool stays cut where that is faster."""
    answers = iter((0, 1))
    found = replace(kernel(), refused=lambda: next(answers))
    monkeypatch.setattr(attention, "kernel", lambda: found)
    opened: list[int] = []
    monkeypatch.setattr(LlamaBackend, "_open_context", _noting(opened, LlamaBackend._open_context))
    backend = LlamaBackend(resolve("repair"), Room(agents=2, layout=layout), threading.Event())
    backend.close()
    enabled, disabled = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED, lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    assert opened == ([enabled, disabled] if layout == "streams" else [enabled])


def _noting(noted: list[int], real: Callable[..., Any]) -> Callable[..., Any]:
    def open_context(self: LlamaBackend, flash: int, threads: int) -> Any:
        noted.append(flash)
        return real(self, flash, threads)

    return open_context


ANSWER = """
import asyncio
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Request, Sampling, Segment

async def main():
    engine = await open_engine(resolve("repair"), agents=4, exact=EXACT)
    text = "def total(items): return sum(item.price for item in items); " * 9
    request = Request(prompt=(Segment(text=text),), sampling=Sampling(temperature=0.0, max_tokens=8), top=5)
    (found,) = await engine.complete(request)
    print([chance for likeliest in found.tops for _, chance in likeliest])
    await engine.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("exact", [True, False])
def test_answers_are_those_of_llama_cpp(exact: bool) -> None:
    """As far as one can say of a mixture of experts, where a rounded digit may choose another expert."""
    told = []
    for switch in ("on", "off"):
        environment = {**os.environ, attention.SWITCH: switch}
        ran = subprocess.run(
            [sys.executable, "-c", ANSWER.replace("EXACT", str(exact))],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(np.array(json.loads(ran.stdout)))
    assert np.abs(told[0] - told[1]).mean() < 0.15
    assert not np.array_equal(*told), "one of them was computed twice"
