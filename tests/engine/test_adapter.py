"""LoRA adapters: which are refused before anything is loaded, and what one does to a model."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swarmcode.engine import registry
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import ModelFile, adapted, describe, resolve
from swarmcode.engine.protocol import Request, Sampling, Segment
from swarmcode.errors import ModelError

Writer = Callable[..., Path]
ABOUT = {
    "general.type": "adapter",
    "general.architecture": "llama",
    "general.name": "House Style",
    "adapter.type": "lora",
    "adapter.lora.alpha": 4.0,
}


def matrices(scale: float, weight: str = "blk.0.attn_q.weight") -> dict[str, NDArray[np.float32]]:
    """A change of rank 2 of a weight of 64 x 64."""
    random = np.random.default_rng(3)
    return {
        f"{weight}.lora_a": random.normal(size=(2, 64)).astype(np.float32),
        f"{weight}.lora_b": (random.normal(size=(64, 2)) * scale).astype(np.float32),
    }


def logprobs(model: ModelFile) -> tuple[float, ...]:
    """Of a greedy answer's tokens."""

    async def main() -> tuple[float, ...]:
        engine = await open_engine(model, agents=2, context=64)
        try:
            request = Request(prompt=(Segment(text="def f(x):"),), sampling=Sampling(temperature=0, max_tokens=6))
            (completion,) = await engine.complete(request)
            return completion.logprobs
        finally:
            await engine.close()

    return asyncio.run(main())


@pytest.mark.model
def test_an_adapter_changes_what_a_model_says(chat_gguf: Path, gguf_writer: Writer, tmp_path: Path) -> None:
    """One that changes nothing by its numbers changes nothing, another one does; both are told in the name."""
    model = describe(chat_gguf)
    nothing = adapted(model, gguf_writer(tmp_path / "nothing.gguf", ABOUT, matrices(0.0)))
    something = adapted(model, gguf_writer(tmp_path / "something.gguf", ABOUT, matrices(1.0)))
    assert something.profile.name == "Tiny Chat+House Style"
    assert something.size > model.size
    plain = logprobs(model)
    assert logprobs(nothing) == pytest.approx(plain, abs=1e-6)
    assert logprobs(something) != pytest.approx(plain, abs=1e-2)


@pytest.mark.model
def test_matrices_of_another_shape_are_refused(
    chat_gguf: Path, gguf_writer: Writer, tmp_path: Path, capfd: Any
) -> None:
    """By llama.cpp, in one line of ours, and nothing else is printed."""
    file = gguf_writer(
        tmp_path / "wide.gguf",
        ABOUT,
        {"blk.0.attn_q.weight.lora_a": np.zeros((2, 32), np.float32)}
        | {"blk.0.attn_q.weight.lora_b": np.zeros((64, 2), np.float32)},
    )
    with pytest.raises(ModelError, match="cannot use the adapter") as error:
        logprobs(adapted(describe(chat_gguf), file))
    assert "no reason" not in error.value.message
    assert "\n" not in error.value.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "tensors", "words"),
    [
        ({"general.type": "model"}, matrices(1.0), "is no adapter, but a GGUF of the kind 'model'"),
        ({"general.type": ""}, matrices(1.0), "is no adapter"),
        ({"adapter.type": "control_vector"}, matrices(1.0), "'control_vector', not 'lora'"),
        ({"general.architecture": "qwen3"}, matrices(1.0), "architecture 'qwen3', and Tiny Chat is 'llama'"),
        ({}, matrices(1.0, "blk.9.attn_q.weight"), "blk.9.attn_q.weight, which Tiny Chat does not have"),
        ({}, {}, "not made of pairs"),
        ({}, dict(list(matrices(1.0).items())[:1]), "not made of pairs"),
        ({}, matrices(1.0) | {"output.weight": np.zeros((4, 4), np.float32)}, "not made of pairs"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    chat_gguf: Path, gguf_writer: Writer, tmp_path: Path, changes: Any, tensors: Any, words: str
) -> None:
    """Before anything is loaded, with the file, what is wrong, and what to do."""
    file = gguf_writer(tmp_path / "adapter.gguf", ABOUT | changes, tensors)
    with pytest.raises(ModelError, match=words) as error:
        adapted(describe(chat_gguf), file)
    assert str(file) in error.value.message
    assert "\n" not in error.value.message
    assert error.value.hint


def test_a_file_that_is_not_there(chat_gguf: Path, tmp_path: Path) -> None:
    """Or that is no GGUF."""
    with pytest.raises(ModelError, match=r"there is no adapter .*gone\.gguf"):
        adapted(describe(chat_gguf), tmp_path / "gone.gguf")
    (tmp_path / "text.gguf").write_text("no")
    with pytest.raises(ModelError, match=r"text\.gguf"):
        adapted(describe(chat_gguf), tmp_path / "text.gguf")


def test_a_named_model_brings_its_adapter(chat_gguf: Path, gguf_writer: Writer, tmp_path: Path) -> None:
    """The registry keeps it, and a registry of a version that knew none is read as before."""
    file = gguf_writer(tmp_path / "style.gguf", ABOUT, matrices(1.0))
    plain = registry.Entry(name="plain", path=chat_gguf, added=registry.now())
    styled = registry.Entry(name="styled", path=chat_gguf, added=registry.now(), adapter=file)
    registry.change(tmp_path, lambda known: known.with_entry(plain).with_entry(styled))
    assert registry.load(tmp_path).entries == (plain, styled)
    assert resolve("styled", tmp_path).adapter == file
    assert resolve("styled", tmp_path).profile.name == "styled+House Style"
    assert resolve("plain", tmp_path).adapter is None
    assert '"adapter"' not in (tmp_path / "models.json").read_text().split('"styled"')[0]
