"""Search/replace blocks: how an instruction-tuned model that cannot call tools is asked for a change.

    path/to/file.py
    <<<<<<< SEARCH
    lines as they stand
    =======
    lines as they shall stand
    >>>>>>> REPLACE

The format is that of aider, which most open models have seen. Quantized models malform it, so parsing is tolerant about
fences, backticks and trailing space, and strict about meaning: the search text must be found once. What is wrong is
said to the model, which may try once more. Guarded here: nothing but files of the subtask's scope is ever changed.
"""

import re
from dataclasses import dataclass

from swarmcode.diff import diff_text
from swarmcode.flow import Changes
from swarmcode.tree import Tree

_BLOCK = re.compile(
    r"^<{5,9} ?SEARCH[^\n]*\n(?P<search>.*?)^={5,9}[ \t]*\n(?P<replace>.*?)^>{5,9} ?REPLACE", re.MULTILINE | re.DOTALL
)
_THOUGHT = re.compile(r"\A.*?</think>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One replacement that a model asked for."""

    path: str
    """As the model wrote it, without decoration; empty where it named none."""
    search: str
    replace: str


class MalformedAnswer(ValueError):
    """What is wrong with an answer, in words that its author can act on."""


def parse(answer: str) -> tuple[Block, ...]:
    """The blocks of an answer, reasoning left out; empty where there are none."""
    text = _THOUGHT.sub("", answer, count=1).replace("\r\n", "\n")
    if not text.endswith("\n"):
        text += "\n"
    blocks = []
    for match in _BLOCK.finditer(text):
        path = _path_before(text[: match.start()])
        blocks.append(Block(path=path, search=match["search"], replace=match["replace"]))
    return tuple(blocks)


def _path_before(text: str) -> str:
    """The last line that is no fence and not the end of another block."""
    for line in reversed(text.splitlines()[-4:]):
        bare = line.strip().strip("`*#: \t")
        if line.lstrip().startswith((">>>>>", "```", "~~~")) and " " not in bare and "." not in bare:
            if line.lstrip().startswith(">>>>>"):
                return ""
            continue
        if bare:
            return bare.removeprefix("File ").removeprefix("./").strip() if " " not in bare[5:] else ""
    return ""


def changes(blocks: tuple[Block, ...], tree: Tree, writes: frozenset[str]) -> Changes:
    """What the blocks make of the tree. Raises `MalformedAnswer`."""
    if not blocks:
        raise MalformedAnswer("there is no SEARCH/REPLACE block in the answer")
    new: dict[str, str] = {}
    for number, block in enumerate(blocks, start=1):
        path = _resolve(block.path, writes)
        if path is None:
            named = block.path or "no file"
            raise MalformedAnswer(
                f"block {number} names {named}; the files that may change: {', '.join(sorted(writes))}"
            )
        text = new.get(path, tree.text(path))
        if text is None:
            raise MalformedAnswer(f"block {number}: {path} is not there, or is no text")
        new[path] = _replace(text, block, number, path)
    return {path: text.encode() for path, text in new.items()}


def _resolve(path: str, writes: frozenset[str]) -> str | None:
    if path in writes:
        return path
    if not path:
        return next(iter(writes)) if len(writes) == 1 else None
    suffix = [known for known in writes if known.endswith("/" + path.lstrip("/"))]
    return suffix[0] if len(suffix) == 1 else None


def _replace(text: str, block: Block, number: int, path: str) -> str:
    """Exact text first, then line by line without regard to trailing space. Raises `MalformedAnswer`."""
    if not block.search.strip():
        raise MalformedAnswer(f"block {number}: the SEARCH part is empty")
    line_end = "\r\n" if "\r\n" in text else "\n"
    search, replace = (part.replace("\n", line_end) for part in (block.search, block.replace))
    if (count := text.count(search)) == 1 and (text.startswith(search) or line_end + search in text):
        return text.replace(search, replace, 1)
    new, found = by_lines(text, block.search, replace)
    if found == 1:
        return new
    if not found:
        raise MalformedAnswer(f"block {number}: its SEARCH lines do not stand in {path}; copy them exactly")
    raise MalformedAnswer(
        f"block {number}: its SEARCH lines stand {max(count, found)} times in {path}; add lines around"
    )


def by_lines(text: str, search: str, replace: str) -> tuple[str, int]:
    """The text with the lines of `search` replaced, compared without regard to trailing space; and how often they stand
    there: unless once, nothing is replaced."""
    lines = text.splitlines(keepends=True)
    bare = [line.rstrip() for line in lines]
    wanted = [line.rstrip() for line in search.splitlines()]
    starts = [start for start in range(len(bare) - len(wanted) + 1) if bare[start : start + len(wanted)] == wanted]
    if len(starts) != 1:
        return text, len(starts)
    start = starts[0]
    return "".join([*lines[:start], replace, *lines[start + len(wanted) :]]), 1


def diff_of(new: Changes, tree: Tree) -> str:
    """Unified diff of the changed files, in order of their paths."""
    parts = []
    for path in sorted(new):
        content = new[path]
        assert content is not None, "blocks delete no files"
        parts.append(diff_text(path, tree.text(path) or "", content.decode()))
    return "".join(parts)
