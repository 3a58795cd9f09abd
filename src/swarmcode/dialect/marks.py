"""What stands in a template for text that is not to be trusted, and how the rendered prompt is cut at it.

A template is rendered with a mark for each content and cut at the marks, so that contents become segments in which no
control token can be spelt. Words without any sign that control tokens are made of go in as they are: a name inside a
sentence of the template is then tokenized as the model has learned it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from swarmcode.engine.protocol import Segment

_MARK = re.compile("\ue000(j?)(\\d{1,9})\ue001")
_QUOTED = re.compile('"\ue000(\\d{1,9})\ue001"')
_INDENT = 16
_PLAIN = re.compile("[^<>\\[\\]｜\ue000-\uf8ff]{0,2000}")
_SPELT = re.compile(r"<(?=\||｜|/?(?:think|tool_call|tool_response|tools)>)")
"""Within what might be the spelling of a token that a vocabulary lists as a word, not as a control token."""


class Whole(dict[str, Any]):
    """An object that a template puts in as JSON, or by its parts: it has a mark, and so has each of its texts."""

    def __init__(self, mark: str, parts: Mapping[str, Any]) -> None:
        super().__init__(parts)
        self._mark = mark

    def __str__(self) -> str:
        return self._mark

    def __add__(self, other: str) -> str:
        return self._mark + other

    def __radd__(self, other: str) -> str:
        return other + self._mark


class WholeList(list[Any]):
    """As `Whole`, for a list."""

    def __init__(self, mark: str, items: Sequence[Any]) -> None:
        super().__init__(items)
        self._mark = mark

    def __str__(self) -> str:
        return self._mark


class Given(list[Any]):
    """A list of what a template is given: it may be asked for its length time and again without being gone through."""


class Marks:
    """The texts that marks of one rendering stand for."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._forms: dict[int, str] = {}
        self.required: set[int] = set()
        """Numbers of the marks that must be in the rendered text."""

    def put(self, text: str, *, required: bool = False, form: str = "") -> str:
        """A mark for `text`, with words behind it that are trusted to spell control tokens."""
        if required:
            self.required.add(len(self._texts))
        if form:
            self._forms[len(self._texts)] = form
        self._texts.append(text)
        return f"\ue000{len(self._texts) - 1}\ue001"

    def word(self, text: str) -> str:
        """The text itself where it is harmless, else a mark."""
        return text if _PLAIN.fullmatch(text) else self.put(text)

    def whole(self, value: Mapping[str, Any]) -> Whole:
        """An object; its JSON is one text."""
        return Whole(self.put(json.dumps(value, ensure_ascii=False)), self._parts(value))

    def listed(self, values: Sequence[Mapping[str, Any]]) -> WholeList:
        """A list of objects; its JSON is one text, and so is that of each object."""
        return WholeList(self.put(json.dumps(values, ensure_ascii=False)), [self.whole(value) for value in values])

    def found(self, text: str) -> set[int]:
        """Numbers of the marks in a rendered text."""
        return {int(number) for _, number in _MARK.findall(text)}

    def cut(self, text: str) -> tuple[Segment, ...]:
        """Template text with control tokens, contents without."""
        segments: list[Segment] = []
        at = 0
        for mark in _MARK.finditer(text):
            segments.append(Segment(text=text[at : mark.start()], special=True))
            number = int(mark[2])
            content, form = self._texts[number], self._forms.get(number, "")
            if mark[1]:  # a template that quotes a content quotes all of it
                content, form = json.dumps(content + form, ensure_ascii=False), ""
            segments += [*plain(content), Segment(text=form, special=True)]
            at = mark.end()
        segments.append(Segment(text=text[at:], special=True))
        return tuple(segment for segment in segments if segment.text)

    def _parts(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.word(value)
        if isinstance(value, Mapping):
            return {self.word(str(name)): self._parts(item) for name, item in value.items()}
        return [self._parts(item) for item in value] if isinstance(value, list | tuple) else value


def plain(text: str) -> list[Segment]:
    """Segments of untrusted text. It is cut inside whatever looks like a token of its own: those that a vocabulary does
    not call control tokens, llama.cpp finds in any text."""
    ends = [match.end() for match in _SPELT.finditer(text)]
    return [Segment(text=text[start:end]) for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def as_json(value: Any, indent: int | None = None, separators: Any = None, **_: Any) -> str:
    """The filter `tojson` of chat templates: marks stay marks, and stand for the JSON of their texts."""
    if isinstance(value, Whole | WholeList):
        return str(value)
    if indent is not None and not 0 <= indent <= _INDENT:
        raise ValueError(f"JSON cannot be indented by {indent}")
    pair = (str(separators[0]), str(separators[1])) if separators else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=pair, default=str)
    return _QUOTED.sub("\ue000j\\1\ue001", text)
