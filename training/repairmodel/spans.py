"""The two versions of the span protocol, so that an older file can be measured on the same faults in its own format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .prompt import ANSWER_TOKENS, END, POINTERS, SPECIALS, Codec


class Span(Protocol):
    """What evaluation asks of a version."""

    def prompt(self, lines: Sequence[str], line: int) -> tuple[list[int], int] | None:
        """(ids, tokens of the suspect line); None for a line that can not be asked about."""

    def mask(self, ids: Sequence[int], length: int) -> NDArray[np.bool_]:
        """What may come next."""

    def apply(self, line: str, answer: Sequence[int]) -> str | None:
        """The new text of the line."""


def pointer_mask(ids: Sequence[int], length: int, vocabulary: int, ordinary: int) -> NDArray[np.bool_]:
    """First a pointer, then one that is not before it, then ordinary tokens or the end."""
    mask = np.zeros(vocabulary, dtype=np.bool_)
    pointer = vocabulary - POINTERS
    if len(ids) < 2:
        mask[(ids[0] if ids else pointer) : pointer + length + 1] = True
    else:
        mask[ordinary:pointer] = len(ids) < ANSWER_TOKENS - 1
        mask[END] = True
    return mask


class SpanV2:
    """The format of `prompt.py`."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def prompt(self, lines: Sequence[str], line: int) -> tuple[list[int], int] | None:
        """See `Span`."""
        question = self.codec.question(lines[line])
        return question and ([*self.codec.trunk(lines[:line], lines[line + 1 :]), *question], (len(question) - 3) // 2)

    def mask(self, ids: Sequence[int], length: int) -> NDArray[np.bool_]:
        """See `Span`; the identity (nothing replaced by nothing) is not masked here: it is no repair, and is dropped
        later.
        """
        return pointer_mask(ids, length, self.codec.vocabulary, len(SPECIALS))

    def apply(self, line: str, answer: Sequence[int]) -> str | None:
        """See `Span`."""
        return self.codec.apply(line, answer)


class SpanV1:
    """Version 1: `begin BEFORE bug P0 t0 ... Pn bug newline AFTER fix`, 8 lines before, 5 after; pointers took ids of
    pieces.
    """

    BUG, FIX, BEGIN, UNKNOWN = 2, 3, 4, 5

    def __init__(self, path: Path, vocabulary: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.vocabulary, self.pointer = vocabulary, vocabulary - POINTERS

    def _encode(self, text: str) -> list[int]:
        return [
            i if i < self.pointer else self.UNKNOWN for i in self.tokenizer.encode(text, add_special_tokens=False).ids
        ]

    def prompt(self, lines: Sequence[str], line: int) -> tuple[list[int], int] | None:
        """See `Span`."""
        head = [lines[0]] if line > 8 else []
        tokens = self._encode(lines[line])
        if not 0 < len(tokens) <= 60:
            return None
        before = self._encode("".join(text + "\n" for text in [*head, *lines[max(0, line - 8) : line]]))
        after = self._encode("\n" + "\n".join(lines[line + 1 : line + 6]))
        pairs = [i for number, token in enumerate(tokens) for i in (self.pointer + number, token)]
        marked = [self.BUG, *pairs, self.pointer + len(tokens), self.BUG]
        return [self.BEGIN, *before, *marked, *after, self.FIX], len(tokens)

    def mask(self, ids: Sequence[int], length: int) -> NDArray[np.bool_]:
        """See `Span`."""
        return pointer_mask(ids, length, self.vocabulary, self.UNKNOWN + 1)

    def apply(self, line: str, answer: Sequence[int]) -> str | None:
        """See `Span`."""
        tokens = self.tokenizer.encode(line, add_special_tokens=False).ids
        body = list(answer)[:-1] if list(answer)[-1:] == [END] else list(answer)
        if len(body) < 2:
            return None
        start, stop = body[0] - self.pointer, body[1] - self.pointer
        return self.tokenizer.decode([*tokens[:start], *body[2:], *tokens[stop:]], skip_special_tokens=False)
