"""A name stands for a model, and what is said of the model is what its files say."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmcode.engine import card, gguf, registry
from swarmcode.engine.models import describe, resolve
from swarmcode.engine.registry import Entry, Registry
from swarmcode.errors import ModelError, StateError, SwarmcodeError, UsageError

Writer = Callable[..., Path]
Header = Callable[..., dict[str, Any]]


def entry(name: str, path: Path = Path("/m/x.gguf"), source: str = "") -> Entry:
    return Entry(name=name, path=path, added="2026-01-01T00:00:00Z", source=source)


def added(home: Path, *entries: Entry) -> Registry:
    for each in entries:
        registry.change(home, lambda known, each=each: known.with_entry(each))  # type: ignore[misc]
    return registry.load(home)


def test_what_is_added_is_there_again(tmp_path: Path) -> None:
    """Entries, sorted by name, and the default, in a home that did not exist; nothing else is left beside the file."""
    home = tmp_path / "new" / "home"
    assert registry.load(home) == Registry()
    added(home, entry("b"), entry("a", Path("/é \n.gguf"), "org/repo@1/x.gguf"))
    known = registry.change(home, lambda now: now.with_default("b"))
    assert registry.load(home) == known
    assert [(each.name, each.pulled) for each in known.entries] == [("a", True), ("b", False)]
    assert (known.default, known.find("c")) == ("b", None)
    assert sorted(path.name for path in home.iterdir()) == ["models.json", "models.lock"]


def test_a_name_that_goes_takes_the_default_with_it(tmp_path: Path) -> None:
    """Then the embedded model is the default again; that one is always there and is never removed."""
    added(tmp_path, entry("a"))
    registry.change(tmp_path, lambda known: known.with_default("a"))
    assert registry.change(tmp_path, lambda known: known.without("a")) == Registry()
    assert registry.load(tmp_path).with_default("repair").default == "repair"
    for wrong in (Registry().without, Registry().with_default, Registry().known):
        with pytest.raises(UsageError, match="no model called 'a'"):
            wrong("a")
    with pytest.raises(UsageError, match="is a part of swarmcode"):
        Registry().without("repair")


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The file is replaced whole, or stays as it was."""
    added(tmp_path, entry("a"))
    before = registry.file_of(tmp_path).read_bytes()
    with pytest.raises(UsageError):
        registry.change(tmp_path, lambda known: known.without("b"))
    assert registry.file_of(tmp_path).read_bytes() == before


def test_nothing_is_lost_between_calls_at_once(tmp_path: Path) -> None:
    """Each reads, changes and writes under one lock."""
    names = [f"m{number}" for number in range(12)]
    threads = [threading.Thread(target=added, args=(tmp_path, entry(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.name for each in registry.load(tmp_path).entries} == set(names)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("no json", "Expecting value"),
        ("[]", "no table of models"),
        ('{"models": 3}', "no table of models"),
        ('{"version": 2, "models": {}}', "its version is 2, not 1"),
        ('{"version": 1, "default": "x", "models": {}}', "its default is none of its models"),
        ('{"version": 1, "default": [], "models": {}}', "its default is none of its models"),
        ('{"version": 1, "models": {"x": 3}}', "'x' is not described"),
        ('{"version": 1, "models": {"x": {"path": "m.gguf", "added": "", "source": ""}}}', "is not absolute"),
        ('{"version": 1, "models": {"../x": {"path": "/m", "added": "", "source": ""}}}', "'../x' is not described"),
        ('{"version": 1, "models": {}}' + " " * registry.LARGEST_FILE, "larger than 1 MiB"),
        ("[" * 100_000, "damaged"),
        ("\udcff", "damaged"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str, complaint: str) -> None:
    """It names the file and what is wrong with it; the embedded model and paths do not need it."""
    file = registry.file_of(tmp_path)
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(StateError, match=complaint) as error:
        registry.load(tmp_path)
    assert str(file) in error.value.message
    assert "\n" not in error.value.message
    with pytest.raises(StateError):
        registry.change(tmp_path, lambda known: known)
    with pytest.raises(StateError):
        resolve("kimi", tmp_path)
    assert resolve("repair", tmp_path).profile.name == "repair"


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_content_crashes(tmp_path: Path, data: object) -> None:
    """Whatever JSON stands there is a registry or a line."""
    file = registry.file_of(tmp_path)
    for content in (data, {"version": 1, "models": data}, {"version": 1, "models": {"x": data}}):
        file.write_text(json.dumps(content))
        try:
            registry.load(tmp_path)
        except StateError as error:
            assert str(file) in error.message  # noqa: PT017


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """With the variable that helps."""
    (tmp_path / "file").touch()
    with pytest.raises(StateError) as error:
        added(tmp_path / "file", entry("a"))
    assert "SWARMCODE_HOME" in error.value.hint


@pytest.mark.parametrize("name", ["", "repair", "a/b", "x.gguf", "-x", ".x", "a b", "a" * 81, "é", "a\n"])
def test_names_are_plain(name: str) -> None:
    """A name is never taken for a path, a flag or the embedded model."""
    with pytest.raises(UsageError):
        registry.checked_name(name)


def test_a_file_has_a_name_of_its_own() -> None:
    """Its ending, and which part it is, are left out, and what a name cannot have."""
    assert registry.name_for(Path("/m/Kimi-K2.5-UD-Q2_K_XL-00001-of-00008.gguf")) == "Kimi-K2.5-UD-Q2_K_XL"
    assert registry.name_for(Path("(my) model.gguf")) == "my-model"


def test_a_name_resolves_before_a_file_does(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report then calls the model by it; without the name, the file of that name is meant; other names stay
    unknown."""
    monkeypatch.chdir(tmp_path)
    named = gguf_writer(tmp_path / "a.gguf", chat_header())
    gguf_writer(tmp_path / "mine", chat_header(**{"general.name": "Other"}))
    assert resolve("mine", tmp_path).profile.name == "Other"
    added(tmp_path, entry("mine", named), entry("gone", tmp_path / "gone.gguf"))
    assert (resolve("mine", tmp_path).path, resolve("mine", tmp_path).profile.name) == (named, "mine")
    assert resolve("./mine", tmp_path).profile.name == "Other"
    with pytest.raises(ModelError, match="the model gone is gone") as gone:
        resolve("gone", tmp_path)
    assert "swarmcode models remove gone" in gone.value.hint
    with pytest.raises(UsageError, match="no model called 'kimmi'"):
        resolve("kimmi", tmp_path)


def test_the_environment_says_where_names_are(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for all else that is kept."""
    monkeypatch.setenv("SWARMCODE_HOME", str(tmp_path))
    added(tmp_path, entry("mine", gguf_writer(tmp_path / "a.gguf", chat_header())))
    assert resolve("mine").profile.name == "mine"


def split(folder: Path, writer: Writer, header: dict[str, Any], count: int = 3, **changes: Any) -> list[Path]:
    """A model in several files, one layer in each."""
    files = []
    for number in range(count):
        about = {"split.count": count, "split.no": number, "split.tensors.count": count} | changes
        weights = {f"blk.{number}.ffn_up.weight": np.ones((number + 1, 8), np.float32)}
        path = folder / f"big-{number + 1:05}-of-{count:05}.gguf"
        files.append(writer(path, (header if number == 0 else {}) | about, weights))
    return files


def test_a_model_in_parts_is_one(tmp_path: Path, gguf_writer: Writer, chat_header: Header) -> None:
    """Its size and its weights are those of all parts."""
    files = split(tmp_path, gguf_writer, chat_header())
    model, about = describe(files[0]), card.read(files[0])
    assert model.size == about.size == sum(file.stat().st_size for file in files)
    assert (about.files, about.parameters, about.weights) == (3, 8 + 16 + 24, 4 * 48)
    assert about.layer_weights == (32, 64, 96)


def test_parts_that_do_not_belong_together_are_refused(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header
) -> None:
    """One that is missing, one that is none, one that is another's, too few weights, and a part that is not the
    first."""

    def complaint(path: Path) -> str:
        with pytest.raises(ModelError) as error:
            describe(path)
        assert error.value.hint
        return error.value.message

    files = split(tmp_path, gguf_writer, chat_header())
    assert "is not the first of its 3 parts" in complaint(files[1])
    second = files[1].read_bytes()
    files[1].write_text("no model")
    assert f"{files[1]} is not a GGUF file" in complaint(files[0])
    files[1].write_bytes(files[2].read_bytes())
    assert "says that it is part 3 of 3, and by its name it is part 2 of 3" in complaint(files[0])
    files[1].write_bytes(second[:-40])
    assert "is damaged or not whole" in complaint(files[0])
    files[1].unlink()
    assert "has 3 parts, and big-00002-of-00003.gguf is not there" in complaint(files[0])
    files[2].unlink()
    assert "and big-00002-of-00003.gguf and 1 more are not there" in complaint(files[0])
    few = split(tmp_path, gguf_writer, chat_header(), **{"split.tensors.count": 9})
    assert "promises 9 tensors, and its parts have 3" in complaint(few[0])
    alone = gguf_writer(tmp_path / "renamed.gguf", chat_header(**{"split.count": 3, "split.no": 0}))
    assert "part 1 of 3, and by its name it is part 1 of 1" in complaint(alone)
    odd = tmp_path / "odd-00001-of-00000.gguf"
    odd.write_bytes(alone.read_bytes())
    assert "is not the first" in complaint(odd)


def test_weights_that_the_file_has_no_room_for_are_refused(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header
) -> None:
    """A download that broke off is known before llama.cpp sees it."""
    weights = {"blk.0.ffn_up.weight": np.ones((64, 64), np.float32)}
    path = gguf_writer(tmp_path / "m.gguf", chat_header(), weights)
    assert describe(path).size == path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="damaged or not whole"):
        describe(path)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("general.architecture", "clip", "an image encoder"),
        ("general.type", "mmproj", "an image encoder"),
        ("general.type", "adapter", "an adapter"),
        ("general.type", "imatrix", "an importance matrix"),
    ],
)
def test_what_is_no_language_model_is_told_apart(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header, key: str, value: str, what: str
) -> None:
    """Files that lie beside models in repositories, and are easily taken for them."""
    with pytest.raises(ModelError, match=what):
        describe(gguf_writer(tmp_path / "m.gguf", chat_header(**{key: value})))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_list_of_weights_never_crashes(
    tmp_path: Path, gguf_writer: Writer, chat_header: Header, data: st.DataObject
) -> None:
    """Bytes that are changed anywhere give a card or an error that a person understands, and nothing else."""
    weights = {f"blk.{n}.ffn_up_exps.weight": np.ones((2, 4), np.float32) for n in range(3)}
    path = gguf_writer(tmp_path / "whole.gguf", {"general.architecture": "x"}, weights)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        card.read(path)
    except SwarmcodeError as error:
        assert str(path) in error.message  # noqa: PT017


def test_the_card_of_a_mixture_of_experts() -> None:
    """The embedded model's: few of its experts are active, and nearly all of it has 8 bits."""
    about = card.read(resolve("repair").path)
    assert about.architecture == "deepseek2"
    assert about.layers == len(about.layer_weights) > 0
    assert about.experts > about.experts_used > 0
    assert about.parameters > about.active > 0
    assert (about.quantized, next(iter(about.quantization))) == ("Q8_0", "Q8_0")
    assert sum(about.quantization.values()) == about.weights < about.size
    assert 0 < about.expert_weights < sum(about.layer_weights) < about.weights
    assert (about.template, about.recurrent) == (False, False)


def test_the_card_of_a_dense_model(tmp_path: Path, gguf_writer: Writer, chat_header: Header) -> None:
    """All of it is active, and a file type that it does not name is told by its tensors."""
    weights = {"output.weight": np.ones((3, 8), np.float32)}
    about = card.read(gguf_writer(tmp_path / "m.gguf", chat_header(), weights))
    assert (about.parameters, about.active, about.experts, about.expert_weights) == (24, 24, 0, 0)
    assert (about.file_type, about.quantized, about.template, about.trained_context) == ("", "F32", True, 4096)
    typed = card.read(gguf_writer(tmp_path / "t.gguf", chat_header(**{"general.file_type": 15})))
    assert typed.quantized == "Q4_K_M"
    assert card.read(gguf_writer(tmp_path / "r.gguf", chat_header(**{"llama.ssm.state_size": 16}))).recurrent


def test_sizes_of_quantized_weights_are_those_of_ggml() -> None:
    """The embedded model's tensors, by the table, fill its file to the last byte."""
    path = resolve("repair").path
    header = gguf.read(path)
    assert header.tensors[-1].bytes > 0
    assert header.size - sum(tensor.bytes for tensor in header.tensors) < header.size // 50
