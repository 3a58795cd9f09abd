"""`swarmcode models`: names, what is behind them, whether it fits, and how it comes from a hub.

The hub is a server of this test that speaks as much of the real one's protocol as `pull` uses.
"""

import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Shell

SHA = "c0ffee" + "0" * 34


def gguf(*tensors: str, **changes: Any) -> bytes:
    """A GGUF of an instruction-tuned model: its metadata, and tensors of 8 numbers, one by default."""
    tensors = tensors or ("blk.0.ffn_up.weight",)

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    metadata = {
        "general.architecture": "llama",
        "general.name": "Tiny \x1b[31mChat",
        "llama.context_length": 4096,
        "llama.embedding_length": 64,
        "llama.block_count": 2,
        "llama.attention.head_count": 4,
        "tokenizer.chat_template": "{{ messages }}",
    } | changes
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        kind = struct.pack("<I", 4 if isinstance(value, int) else 8)
        parts += [text(key), kind, struct.pack("<I", value) if isinstance(value, int) else text(value)]
    parts += [text(name) + struct.pack("<IQIQ", 1, 8, 0, 0) for name in tensors]
    head = b"".join(parts)
    return head.ljust(-(-len(head) // 32) * 32, b"\0") + bytes(32)


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    path = tmp_path / "Chat-Q4_K_M.gguf"
    path.write_bytes(gguf(**{"general.file_type": 15}))
    return path


def names(shell: "Shell") -> list[str]:
    return [model["name"] for model in json.loads(shell("models", "list", "--json").out)["models"]]


def refused(shell: "Shell", *arguments: str, code: int = 2, **variables: str) -> str:
    """What is said of a call that cannot work: what was wrong, and what to do; nothing on standard output."""
    done = shell("models", *arguments, **variables)
    assert (done.code, done.out) == (code, ""), done.err
    said = done.err.splitlines()
    assert [line[:2] == "  " for line in said[-2:]] == [False, True], said
    assert "Traceback" not in done.err
    return done.err


def test_the_embedded_model_is_always_there(shell: "Shell") -> None:
    """In the list, as the default, and not to be removed, renamed over or deleted."""
    done = shell("models", "list")
    assert [line.split()[:3] for line in done.out.splitlines()[1:]] == [["*", "repair", "span"]]
    assert "is a part of swarmcode" in refused(shell, "remove", "repair", "--delete")
    assert shell("models", "default").out == "repair\n"


def test_a_model_from_name_to_oblivion(shell: "Shell", chat: Path) -> None:
    """Added, listed, shown, made the default, and forgotten; its file, which is the person's, stays."""
    assert shell("models", "add", str(chat)).out == "Chat-Q4_K_M\n"
    assert shell("models", "add", str(chat), "--name", "mine").out == "mine\n"
    assert names(shell) == ["repair", "Chat-Q4_K_M", "mine"]
    assert shell("models", "default", "mine").code == 0
    assert shell("models", "default").out == "mine\n"
    lines = shell("models", "list").out.splitlines()
    assert lines[3].split() == ["*", "mine", "blocks", "llama", "8", "Q4_K_M", f"{chat.stat().st_size}", "B", "4,096"]
    assert not lines[1].startswith("*")
    shown = shell("models", "show", "mine").out
    for words in ("chat template    yes", "thoughts         cannot be turned", "min-p 0.01, 2,048 tokens at most"):
        assert words in shown
    for words in ("blocks, and it plans", "none: it is dense", "Q4_K_M: F32 100%", str(chat)):
        assert words in shown
    told = json.loads(shell("models", "show", "mine", "--json").out)
    assert (told["name"], told["default"], told["path"]) == ("mine", True, str(chat))
    assert (told["family"], told["dialect"], told["sampling"]["instant"]["temperature"]) == ("", "", 0.7)
    assert (told["parameters"], told["kv_bytes_per_token"], told["template"]) == (8, 512, True)

    assert "were not pulled, so they are yours" in refused(shell, "remove", "mine", "--delete")
    done = shell("models", "remove", "mine")
    assert "the default is repair again" in done.err
    assert names(shell) == ["repair", "Chat-Q4_K_M"]
    assert chat.is_file()


def test_a_model_is_named_together_with_its_adapter(shell: "Shell", chat: Path) -> None:
    """The name then means both, wherever it is used; an adapter for another model is refused."""
    adapter = chat.with_name("style.gguf")
    halves = ("blk.0.ffn_up.weight.lora_a", "blk.0.ffn_up.weight.lora_b")
    about = {"general.type": "adapter", "general.name": "Style", "adapter.type": "lora", "adapter.lora.alpha": 16}
    adapter.write_bytes(gguf(*halves, **about))
    assert shell("models", "add", str(chat), "--name", "styled", "--adapter", str(adapter)).out == "styled\n"
    shown = shell("models", "show", "styled").out
    assert "styled+Style" in shown
    assert f"Style, of 1 weight, alpha 16: {adapter}" in shown
    assert json.loads(shell("models", "show", "styled", "--json").out)["adapter"] == str(adapter)

    adapter.write_bytes(gguf(*halves, **about | {"general.architecture": "qwen3"}))
    assert "for a model of the architecture 'qwen3'" in refused(
        shell, "add", str(chat), "--name", "other", "--adapter", str(adapter), code=3
    )
    assert "is no adapter" in refused(shell, "add", str(chat), "--name", "other", "--adapter", str(chat), code=3)
    adapter.unlink()
    assert f"there is no adapter {adapter}" in refused(shell, "show", "styled", code=3)
    assert names(shell) == ["repair", "styled"]


def test_the_default_gives_way_to_whatever_names_a_model(shell: "Shell", chat: Path) -> None:
    """A flag, a variable and the user's file go before it; it goes before the embedded model."""
    shell("models", "add", str(chat), "--name", "mine")
    shell("models", "default", "mine")
    chat.unlink()

    def told(**variables: str) -> list[str]:
        return next(line for line in shell("config", **variables).out.splitlines() if line.startswith("model ")).split()

    assert told()[1:6] == ['"mine"', "swarmcode", "models", "default", "#"]
    assert told(SWARMCODE_MODEL="repair")[1:3] == ['"repair"', "SWARMCODE_MODEL"]
    assert "the file of the model mine is gone" in shell("fix", "x", "--test", "true").err
    assert "missing.gguf" in shell("fix", "x", "--test", "true", "--model", "missing.gguf").err
    (shell.home / "models.json").write_text("{")
    assert "missing.gguf" in shell("fix", "x", "--test", "true", "--model", "missing.gguf").err
    assert "is damaged" in shell("fix", "x", "--test", "true").err


def test_what_a_file_says_does_not_command_the_terminal(shell: "Shell", chat: Path) -> None:
    """The name in a file is shown without its escape sequences."""
    done = shell("models", "show", str(chat))
    assert "Tiny Chat" in done.out
    assert "\x1b" not in done.out


def test_a_file_that_is_gone_is_marked_so(shell: "Shell", chat: Path) -> None:
    """In the list beside the others; showing it says what to do."""
    shell("models", "add", str(chat), "--name", "mine")
    chat.unlink()
    assert shell("models", "list").out.splitlines()[2].split(maxsplit=1) == ["mine", "its file is gone"]
    (model,) = json.loads(shell("models", "list", "--json").out)["models"][1:]
    assert model["error"] == "its file is gone"
    assert "swarmcode models remove mine" in refused(shell, "show", "mine", code=3)
    assert shell("models", "remove", "mine").code == 0


def test_what_cannot_be_added(shell: "Shell", chat: Path) -> None:
    """A name that is taken or none, a file that is none, and one that no agent can speak with."""
    shell("models", "add", str(chat), "--name", "mine")
    other = chat.with_name("other.gguf")
    other.write_bytes(gguf(**{"tokenizer.chat_template": ""}))
    assert "there is a model mine already" in refused(shell, "add", str(other), "--name", "mine")
    assert "neither span edits nor a chat template" in refused(shell, "add", str(other), code=3)
    assert "name of the embedded model" in refused(shell, "add", str(other), "--name", "repair")
    assert "cannot be called 'a/b'" in refused(shell, "add", str(other), "--name", "a/b")
    assert "there is no model file" in refused(shell, "add", "missing.gguf", code=3)
    assert names(shell) == ["repair", "mine"]


def test_a_damaged_registry(shell: "Shell") -> None:
    """One line that names the file, and the way out."""
    (shell.home / "models.json").write_text("{")
    for arguments in (("list",), ("default",), ("remove", "x"), ("show", "x")):
        assert f"{shell.home}/models.json, which has the names of models, is damaged" in refused(
            shell, *arguments, code=3
        )


def test_fit(shell: "Shell", chat: Path) -> None:
    """0 where it fits, 1 where something would be cut, 2 for what makes no sense; the table says why."""
    done = shell("models", "fit", "repair", "--agents", "3", "--context", "200")
    table = dict(line.split("  ", 1) for line in done.out.splitlines())
    assert (done.code, table["fits"].strip(), table["layout"].strip()) == (0, "yes", "unified")
    assert table["asked for"].strip() == "3 agents with up to 200 tokens each"
    done = shell("models", "fit", str(chat), "--agents", "3", "--context", "5000")
    assert done.code == 1
    assert done.out.startswith("fits         no: the model can use sequences of 4,096 tokens at most\n")
    assert "layout       unified" in done.out
    assert "256 agents cannot run at once" in refused(shell, "fit", "repair", "--agents", "256")
    assert "no model called 'nope'" in refused(shell, "fit", "nope")


@dataclass
class Hub:
    """Repositories by name, each with its files; what was asked for, and how."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    sums: dict[str, str] = field(default_factory=dict)
    """Checksums that are named in place of the true ones, by file."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes likewise."""
    ranges: list[str] = field(default_factory=list)
    """The Range of each download."""
    url: str = ""

    def listing(self, repo: str) -> bytes:
        siblings = [
            {
                "rfilename": name,
                "size": self.sizes.get(name, len(content)),
                "lfs": {"sha256": self.sums.get(name, digest(content)), "size": len(content), "pointerSize": 9},
            }
            for name, content in self.files[repo].items()
        ]
        return json.dumps({"id": repo, "sha": SHA, "siblings": siblings}).encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/"):
                repo = path.removeprefix("/api/models/")
                if repo == "org/down":
                    self.answer(503)
                elif repo in hub.files:
                    self.answer(200, hub.listing(repo))
                else:
                    self.answer(404, headers={"X-Error-Code": "RepoNotFound"})
            elif path.startswith("/cdn/"):
                self.send_content(path.removeprefix("/cdn/"))
            else:
                repo, _, rest = path[1:].partition(f"/resolve/{SHA}/")
                if repo in hub.gated:
                    self.answer(403, headers={"X-Error-Code": "GatedRepo"})
                else:
                    self.answer(302, headers={"Location": f"{hub.url}/cdn/{repo}/{rest}"})

        def send_content(self, path: str) -> None:
            organisation, repo, name = path.split("/", 2)
            content = hub.files[f"{organisation}/{repo}"][name]
            asked = self.headers.get("Range", "")
            hub.ranges.append(asked)
            first = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            where = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if asked else {}
            self.answer(206 if asked else 200, content[first:], where)

        def answer(self, code: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def hub(shell: "Shell", tmp_path: Path) -> Iterator[Hub]:
    made = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(made)) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        shell.monkeypatch.setenv("HF_ENDPOINT", made.url)
        shell.monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        shell.monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


PARTS = {
    f"UD-Q2_K_XL/Big-UD-Q2_K_XL-{number + 1:05}-of-00002.gguf": gguf(
        **{"split.count": 2, "split.no": number, "split.tensors.count": 2}
    )
    for number in range(2)
}
REPO = {"README.md": b"x", "mmproj-F16.gguf": b"x", "Big-Q4_K_M.gguf": gguf(), "Big-Q4_K_S.gguf": gguf(), **PARTS}


def test_a_model_comes_and_goes(shell: "Shell", hub: Hub) -> None:
    """All parts, checked, under a name; called again nothing is fetched; and they are ours to delete."""
    hub.files["org/Big-GGUF"] = REPO
    done = shell("models", "pull", "org/Big-GGUF:UD-Q2_K_XL")
    assert (done.code, done.out) == (0, "Big-UD-Q2_K_XL\n"), done.err
    folder = shell.home / "models" / "org--Big-GGUF"
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")} == PARTS
    told = json.loads(shell("models", "show", "Big-UD-Q2_K_XL", "--json").out)
    assert told["source"] == f"org/Big-GGUF@{SHA}/{next(iter(PARTS))}"
    assert (told["files"], told["parameters"]) == (2, 16)

    assert shell("models", "pull", "org/Big-GGUF:ud-q2_k_xl").code == 0
    assert hub.ranges == ["", ""]
    assert shell("models", "remove", "Big-UD-Q2_K_XL", "--delete").code == 0
    assert not list(folder.rglob("*.*"))
    assert names(shell) == ["repair"]


def test_a_file_can_be_named(shell: "Shell", hub: Hub) -> None:
    """By its path in the repository; and the name that it shall have."""
    hub.files["org/Big-GGUF"] = REPO
    done = shell("models", "pull", "org/Big-GGUF/Big-Q4_K_S.gguf", "--name", "small")
    assert (done.code, done.out) == (0, "small\n"), done.err
    assert "there is a model small already" in refused(shell, "pull", "org/Big-GGUF/Big-Q4_K_M.gguf", "--name", "small")
    shell("models", "add", str(shell.home / "models/org--Big-GGUF/Big-Q4_K_S.gguf"), "--name", "twin")
    assert "are those of twin too" in refused(shell, "remove", "small", "--delete")


def test_several_models_without_a_choice(shell: "Shell", hub: Hub) -> None:
    """They are listed with their sizes; the same where a choice fits none."""
    hub.files["org/Big-GGUF"] = REPO
    said = refused(shell, "pull", "org/Big-GGUF")
    assert "org/Big-GGUF has 3 models: say which" in said
    for choice in ("org/Big-GGUF:Q4_K_M (0.0 GB)", "org/Big-GGUF:Q4_K_S (", "org/Big-GGUF:UD-Q2_K_XL ("):
        assert choice in said
    assert "org/Big-GGUF has no Q8_0" in refused(shell, "pull", "org/Big-GGUF:Q8_0")
    assert "org/Big-GGUF has no Q4_K\n" in refused(shell, "pull", "org/Big-GGUF:Q4_K")
    assert hub.ranges == []


def test_a_download_goes_on_where_it_broke_off(shell: "Shell", hub: Hub) -> None:
    """Only what is missing is asked for; the whole is checked."""
    content = gguf(**{"general.description": "long " * 1000})
    hub.files["org/one"] = {"one.gguf": content}
    part = shell.home / "models" / "org--one" / f"one.gguf.{digest(content)[:16]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:3000])
    done = shell("models", "pull", "org/one")
    assert done.code == 0, done.err
    assert hub.ranges == ["bytes=3000-"]
    assert [path.name for path in part.parent.iterdir()] == ["one.gguf"]
    assert (part.parent / "one.gguf").read_bytes() == content


def test_another_checksum_is_refused(shell: "Shell", hub: Hub) -> None:
    """Nothing is registered and nothing kept; a retry may help, so the exit code is 75."""
    hub.files["org/one"] = {"one.gguf": gguf()}
    hub.sums["one.gguf"] = "a" * 64
    assert "another checksum than the hub names" in refused(shell, "pull", "org/one", code=75)
    assert not list((shell.home / "models").rglob("*.*"))
    assert names(shell) == ["repair"]


def test_what_swarmcode_cannot_use_is_not_registered(shell: "Shell", hub: Hub) -> None:
    """And where the files lie is said."""
    hub.files["org/base"] = {"base.gguf": gguf(**{"tokenizer.chat_template": ""})}
    said = refused(shell, "pull", "org/base", code=3)
    assert "neither span edits nor a chat template" in said
    assert f"its files are in {shell.home}/models/org--base" in said
    assert names(shell) == ["repair"]


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("missing", 2, "'missing' names no model of the hub"),
        ("org/../x", 2, "names no model of the hub"),
        ("org/missing", 3, "the hub has no repository org/missing"),
        ("org/gated", 3, "org/gated is gated"),
        ("org/none", 3, "org/none has no GGUF file"),
        ("org/huge", 3, "has"),
        ("org/unsafe", 3, "has a file of the unsafe name '../../x.gguf'"),
        ("org/unsummed", 3, "names no size or checksum of u.gguf"),
        ("org/lacking", 3, "has 1 of the 2 parts"),
        ("org/down", 75, "the hub answers 503 for org/down"),
    ],
)
def test_what_cannot_be_pulled(shell: "Shell", hub: Hub, what: str, code: int, words: str) -> None:
    """Each has its line; nothing is fetched."""
    hub.files |= {
        "org/gated": {"g.gguf": gguf()},
        "org/none": {"model.safetensors": b"x"},
        "org/huge": {"huge.gguf": gguf()},
        "org/unsafe": {"../../x.gguf": gguf()},
        "org/unsummed": {"u.gguf": gguf()},
        "org/lacking": {"l-00001-of-00002.gguf": gguf()},
    }
    hub.gated.add("org/gated")
    hub.sizes["huge.gguf"] = 10**18
    hub.sums["u.gguf"] = ""
    assert words in refused(shell, "pull", what, code=code)
    assert hub.ranges == []
    assert not list(shell.home.rglob("*.gguf"))


def test_not_enough_disk_is_said_with_figures(shell: "Shell", hub: Hub) -> None:
    """How much is free, and how much would come."""
    hub.files["org/huge"] = {"huge.gguf": gguf()}
    hub.sizes["huge.gguf"] = 10**18
    assert "GB free, and 1000000000.0 GB are to come" in refused(shell, "pull", "org/huge", code=3)


def test_offline(shell: "Shell") -> None:
    """A hub that cannot be reached is worth a retry; how to bring the file by hand is said."""
    said = refused(shell, "pull", "org/one", code=75, HF_ENDPOINT="http://127.0.0.1:1", NO_PROXY="127.0.0.1")
    assert "the hub cannot be reached" in said
    assert "swarmcode models add PATH" in said
