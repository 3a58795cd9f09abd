"""The span-edit protocol in tokens: what the model reads, what it may answer, and what an answer means.

The model sees a window of code with one suspect line, whose tokens stand between numbered pointers, and answers which
of them to replace, and with what:

    begin BEFORE rest AFTER bug P0 t0 P1 t1 ... tn-1 Pn fix   ->   Pa Pb r0 r1 ... end

Tokens a..b-1 give way to r0 r1 ...; a = b inserts, no r deletes. Nothing has to be copied, so an answer is three to
eight tokens long, and different samples are different edits. `P0 P0 end` says that the line
is right.

The idea of pointing instead of rewriting is that of Allamanis et al., "Self-Supervised Bug Detection and Repair"
(BugLab), 2021; the format is the embedded model's own (version 2 of it; the first had AFTER behind the line).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmcode.agent.window import Window
from swarmcode.engine.protocol import Engine, SpanFormat
from swarmcode.errors import ModelError

NAMES = ("<|pad|>", "<|end|>", "<|bug|>", "<|fix|>", "<|begin|>", "<|rest|>")
POINTERS = 64
"""P0..P63 are the last ids of the vocabulary."""
NAMED = 2
"""An answer begins with the first token that goes, and the first that stays."""

Mask = NDArray[np.bool_]
Answer = tuple[int, ...]
"""Tokens, the end mark included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Control tokens of the protocol."""

    pad: int
    end: int
    bug: int
    fix: int
    begin: int
    rest: int
    pointers: int
    """Id of P0."""

    @classmethod
    def of(cls, engine: Engine) -> "Marks":
        """Reads them from the vocabulary. Raises `ModelError` where it has none."""
        ids = [engine.tokenize(name, special=True) for name in NAMES]
        if any(len(found) != 1 for found in ids):
            raise ModelError(f"{engine.profile.name} has no tokens for span edits", "choose another model with --model")
        pad, end, bug, fix, begin, rest = (found[0] for found in ids)
        pointers = engine.profile.vocabulary - POINTERS
        return cls(pad=pad, end=end, bug=bug, fix=fix, begin=begin, rest=rest, pointers=pointers)

    @property
    def never(self) -> tuple[int, ...]:
        """What is no part of a replacement, nor its end."""
        return self.pad, self.bug, self.fix, self.begin, self.rest


@dataclass(frozen=True, slots=True)
class AnswerConstraint:
    """What may follow the beginning of an answer.

    `P0 P0 end` may: the model was taught to say so of a line that is right, and where it may not, all that it thinks of
    that would go to insertions at the beginning of the line.
    """

    begun: tuple[int, ...]
    line_tokens: int
    """n: pointers P0..Pn may be named."""
    marks: Marks

    def allowed(self, generated: Sequence[int]) -> Mask:
        """Mask of shape (vocabulary,): the pointers are the last part of it."""
        marks = self.marks
        answer = (*self.begun, *generated)
        mask = np.zeros(marks.pointers + POINTERS, dtype=np.bool_)
        if len(answer) < NAMED:
            mask[(answer[0] if answer else marks.pointers) : marks.pointers + self.line_tokens + 1] = True
            return mask
        mask[: marks.pointers] = True
        mask[list(marks.never)] = False
        if len(answer) == NAMED and answer[0] == answer[1] != marks.pointers:
            mask[marks.end] = False
        return mask


@dataclass(frozen=True, slots=True)
class Favour:
    """What speaks for an answer beside the model."""

    bonus: float = float("-inf")
    """Nats by which it is likelier than the model thinks."""
    floor: float = float("-inf")
    """Log of how likely it is in any case, whatever the model thinks."""
    hope: float = 0.0
    """Nats that may yet be gained when it is finished (see `frontier.Finish`)."""

    def __or__(self, other: "Favour") -> "Favour":
        """The more favourable of both."""
        return Favour(max(self.bonus, other.bonus), max(self.floor, other.floor), max(self.hope, other.hope))


class Trie(dict[int, "Trie"]):
    """Token -> what may follow it, over some answers that are favoured."""

    __slots__ = ("favour",)

    def __init__(self, favour: Favour = Favour()) -> None:
        super().__init__()
        self.favour = favour
        """The most that speaks for any of the answers that begin so."""

    @classmethod
    def of(cls, answers: Iterable[tuple[Sequence[int], Favour]]) -> "Trie":
        """Of whole answers, each with its end mark; none may begin another."""
        trie = cls()
        for answer, favour in answers:
            node = trie
            node.favour |= favour
            for token in answer:
                node = node.setdefault(token, cls())
                node.favour |= favour
        return trie


@dataclass(frozen=True, slots=True)
class SpanPrompt:
    """A window as the model reads it."""

    window: Window
    line: tuple[int, ...]
    """Tokens of the suspect line."""
    tokens: tuple[int, ...]
    """The whole prompt."""


def format_of(engine: Engine) -> SpanFormat:
    """What the model was trained on."""
    return engine.profile.span or SpanFormat()


class Speller:
    """Windows to prompts, edits to answers, answers to lines."""

    def __init__(self, engine: Engine) -> None:
        self.marks = Marks.of(engine)
        self.format = format_of(engine)
        self._engine = engine
        self._room = engine.profile.context - self.format.answer_tokens

    def prompt(self, window: Window) -> SpanPrompt | None:
        """None for a line that is too long to be asked about."""
        line = self._engine.tokenize(window.line)
        if not 0 < len(line) <= self.format.line_tokens:
            return None
        marks = self.marks
        marked = [marks.pointers]
        for place, token in enumerate(line, start=1):
            marked += [token, marks.pointers + place]
        kept = 1 if window.headed else 0
        before = self._fitting(window.above, self.format.before_tokens, lambda lines: lines.pop(kept), kept)
        after = self._fitting(window.below, self.format.after_tokens, list.pop, 0)
        tokens = (marks.begin, *before, marks.rest, *after, marks.bug, *marked, marks.fix)
        return SpanPrompt(window, line, tokens) if len(tokens) <= self._room else None

    def answer(self, old: Sequence[int], text: str) -> tuple[int, ...] | None:
        """The shortest answer that makes `text` of the line `old`; None where the model cannot say it."""
        new = self._engine.tokenize(text)
        same = next((place for place, (one, two) in enumerate(zip(old, new, strict=False)) if one != two), None)
        start = min(len(old), len(new)) if same is None else same
        end = 0
        while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
            end += 1
        inserted = new[start : len(new) - end]
        marks = self.marks
        never = {*marks.never, marks.end}
        if len(inserted) > self.format.answer_tokens - NAMED - 1 or any(
            token in never or token >= marks.pointers for token in inserted
        ):
            return None
        return marks.pointers + start, marks.pointers + len(old) - end, *inserted, marks.end

    def replaced(self, line: Sequence[int], answer: Sequence[int]) -> tuple[str | None, str]:
        """The new line that an answer without its end mark makes, or None and why there is none."""
        if len(answer) < NAMED:
            return None, "the answer did not end"
        start, end = (token - self.marks.pointers for token in answer[:NAMED])
        if not 0 <= start <= end <= len(line):
            return None, "the answer points outside the line"
        try:
            return self._engine.detokenize((*line[:start], *answer[NAMED:], *line[end:])).decode(), ""
        except UnicodeDecodeError:
            return None, "the answer is no UTF-8"

    def _fitting(self, lines: Sequence[str], most: int, drop: Callable[[list[str]], str], kept: int) -> tuple[int, ...]:
        """Lines, each with its newline, in at most so many tokens: the furthest go first."""
        left = list(lines)
        while True:
            tokens = self._engine.tokenize("".join(line + "\n" for line in left)) if left else ()
            if len(tokens) <= most or len(left) <= kept:
                return tokens
            drop(left)
