"""What is true of a model is read from its file, and every file that is of no use is refused with a reason."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmcode.engine import gguf
from swarmcode.engine.models import describe, resolve
from swarmcode.engine.protocol import SpanFormat
from swarmcode.errors import ModelError, SwarmcodeError, UsageError

Writer = Callable[..., Path]
Header = Callable[..., dict[str, Any]]


def test_the_embedded_model_is_the_default_one() -> None:
    """It speaks span edits, is recognised by its tokens, and its windows are short."""
    model = resolve("repair")
    assert model.path.name == "repair.gguf"
    assert (model.profile.name, model.profile.protocols, model.profile.context) == ("repair", ("span",), 563)
    assert model.profile.span == SpanFormat()
    assert model.profile.vocabulary == 4096
    assert (model.profile.plans, model.profile.chat_template) == (False, "")
    assert model.profile.sampling.temperature == 1.0


def test_a_span_model_is_known_by_its_tokens_under_any_name(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header
) -> None:
    """Not by its file name, and even where it has a chat template."""
    tokens = ["a", "<|end|>", "<|bug|>", "<|fix|>", "b"]
    header = chat_header(**{"tokenizer.ggml.tokens": tokens, "swarmcode.span.version": 2})
    path = gguf_writer(tmp_path / "any name", header)
    assert describe(path).profile.protocols == ("span",)
    assert describe(path).profile.vocabulary == 5
    other = gguf_writer(tmp_path / "other", {**header, "swarmcode.span.version": 3})
    with pytest.raises(ModelError, match="another form of span edits"):
        describe(other)


def test_an_instruction_tuned_model_speaks_blocks(tmp_path: Path, gguf_writer: Writer, chat_header: Header) -> None:
    """It has its template, its context, and may plan."""
    profile = resolve(str(gguf_writer(tmp_path / "m.gguf", chat_header()))).profile
    assert (profile.name, profile.protocols, profile.context) == ("Tiny Chat", ("blocks",), 4096)
    assert profile.plans
    assert "<|user|>" in profile.chat_template


@pytest.mark.parametrize(
    ("name", "temperature", "top_p", "min_p"),
    [("Kimi K2.5", 0.6, 0.95, 0.01), ("Qwen3-Coder-30B", 0.7, 0.8, 0.0), ("gpt-oss-120b", 1.0, 1.0, 0.0)],
)
def test_known_families_have_their_publishers_sampling(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header, name: str, temperature: float, top_p: float, min_p: float
) -> None:
    """By what the file calls itself."""
    sampling = describe(gguf_writer(tmp_path / "m.gguf", chat_header(**{"general.name": name}))).profile.sampling
    assert (sampling.temperature, sampling.top_p, sampling.min_p) == (temperature, top_p, min_p)


KIMI = (
    "{% if tools %}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson }}<|im_end|>{% endif %}"
    "{% for m in messages %}<|im_{{ m.role }}|>{{ m.role }}<|im_middle|>{{ m.content }}{% for call in m.tool_calls %}"
    "<|tool_calls_section_begin|><|tool_call_begin|>{{ call.id }}<|tool_call_argument_begin|>"
    "{{ call.function.arguments | tojson }}<|tool_call_end|><|tool_calls_section_end|>{% endfor %}"
    "<|im_end|>{% endfor %}"
    "<|im_assistant|>assistant<|im_middle|>{{ '<think>' if thinking else '<think></think>' }}"
)


def test_what_a_template_shows_is_promised(tmp_path: Path, gguf_writer: Writer, chat_header: Header) -> None:
    """Calls in its own form, the switch of its thoughts, what ends its turns; its calls tell the family."""
    changes = {"tokenizer.chat_template": KIMI, "general.name": "Some finetune", "general.architecture": "deepseek2"}
    header = chat_header(**changes, **{"deepseek2.context_length": 262_144})
    profile = describe(gguf_writer(tmp_path / "m.gguf", header)).profile
    assert (profile.protocols, profile.context) == (("tools", "blocks"), 262_144)
    assert (profile.family, profile.dialect, profile.switch) == ("Kimi K2", "kimi", "thinking")
    assert profile.stops == ("<|im_end|>",)
    instant, reasoning = profile.sampling, profile.reasoning
    assert (instant.temperature, instant.top_p, instant.min_p) == (0.6, 0.95, 0.01)
    assert reasoning is not None
    assert (reasoning.temperature, reasoning.top_p, reasoning.min_p) == (1.0, 0.95, 0.01)
    assert reasoning.max_tokens > instant.max_tokens


def test_what_a_template_does_not_show_is_not_promised(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header
) -> None:
    """A name alone gives sampling, and nothing else."""
    profile = describe(gguf_writer(tmp_path / "m.gguf", chat_header(**{"general.name": "Kimi K2.5"}))).profile
    assert (profile.family, profile.protocols, profile.dialect, profile.switch) == ("Kimi K2", ("blocks",), "", "")


def test_the_memory_of_a_token_is_known(tmp_path: Path, gguf_writer: Writer, chat_header: Header) -> None:
    """Two bytes a number: keys and values of the shared heads of all layers; of latent attention, the keys alone."""
    assert describe(gguf_writer(tmp_path / "m.gguf", chat_header())).cell_bytes == 2 * 2 * 2 * (16 + 16)
    assert resolve("repair").cell_bytes == 2 * 7 * (96 + 16)


def test_a_url_or_an_unknown_name_is_a_usage_error() -> None:
    """It says what can be given instead."""
    with pytest.raises(UsageError, match="cannot be fetched") as url:
        resolve("https://example.org/model.gguf")
    assert "download" in url.value.hint
    with pytest.raises(UsageError, match="no model called 'kimmi'") as name:
        resolve("kimmi")
    assert "'repair'" in name.value.hint


def test_files_that_are_no_model_are_refused(tmp_path: Path, gguf_writer: Writer, chat_header: Header) -> None:
    """Each with one line that names the file and what is wrong, and one that says what to do."""
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "text.gguf").write_text("no model at all")
    whole = gguf_writer(tmp_path / "whole.gguf", chat_header()).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "old.gguf").write_bytes(whole[:4] + struct.pack("<I", 1) + whole[8:])
    gguf_writer(tmp_path / "base.gguf", chat_header(**{"tokenizer.chat_template": ""}))
    gguf_writer(tmp_path / "nameless.gguf", {"general.name": "x"})
    complaints = {
        "missing.gguf": "there is no model file",
        ".": "is a folder",
        "empty.gguf": "is empty",
        "text.gguf": "is not a GGUF file",
        "cut.gguf": "is damaged or not whole",
        "old.gguf": "GGUF version 1",
        "base.gguf": "neither span edits nor a chat template",
        "nameless.gguf": "which architecture",
    }
    for name, complaint in complaints.items():
        with pytest.raises(ModelError, match=complaint) as error:
            resolve(str(tmp_path / name))
        assert str(tmp_path) in error.value.message
        assert "\n" not in error.value.message
        assert error.value.hint


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_header_never_crashes(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header, data: st.DataObject
) -> None:
    """Bytes that are changed or cut anywhere give a model or an error that a person understands, and nothing else."""
    content = bytearray(gguf_writer(tmp_path / "whole.gguf", chat_header()).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    complaint = str(path)
    try:
        describe(path)
    except SwarmcodeError as error:
        complaint = error.message
    assert str(path) in complaint


def test_arrays_are_counted_and_their_first_items_kept(tmp_path: Path, gguf_writer: Writer) -> None:
    """A vocabulary of any size is passed over quickly, and what follows it is read."""
    metadata = {
        "names": [f"n{index}" for index in range(1000)],
        "numbers": list(range(1000)),
        "none": [],
        "after": "it",
        "half": 0.5,
        "yes": True,
    }
    header = gguf.read(gguf_writer(tmp_path / "m.gguf", metadata))
    assert header.lengths == {"names": 1000, "numbers": 1000, "none": 0}
    assert header.strings("names")[:2] == ["n0", "n1"]
    assert header.number("numbers") == 255
    assert (header.text("after"), header.number("half"), header.number("yes")) == ("it", 0.5, 1)
    assert (header.text("half"), header.number("after", 7), header.strings("after")) == ("", 7, [])
