"""Distinct answers of a file, best first: beam search under the protocol's mask, and independent draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .llama import Llama
from .prompt import ANSWER_TOKENS, END
from .spans import Span


@dataclass(slots=True)
class Answer:
    """What the model proposes for a line."""

    text: str
    """The function with the answer applied."""
    score: float
    """Log-probability of the answer."""
    tokens: int


@dataclass(slots=True)
class Beam:
    """An unfinished answer."""

    ids: list[int] = field(default_factory=list)
    score: float = 0.0


class Proposer:
    """Distinct answers, best first."""

    def __init__(self, llama: Llama, span: Span, width: int) -> None:
        self.llama, self.span, self.width = llama, span, width
        self.decoded = self.prefilled = 0
        self.prefix: list[int] = []

    def head(self, ids: list[int]) -> NDArray[np.float32]:
        """Compute a prompt in sequence 0, keeping what it shares with the last one; logits of its last token."""
        same = 0
        while same < min(len(ids) - 1, len(self.prefix)) and ids[same] == self.prefix[same]:
            same += 1
        self.llama.cut(0, same)
        self.prefix = ids
        new = ids[same:]
        self.prefilled += len(new)
        return self.llama.decode(new, range(same, len(ids)), [0] * len(new), [False] * (len(new) - 1) + [True])[0]

    def answers(self, lines: Sequence[str], line: int) -> list[Answer]:
        """Up to `width` different texts of the function, best first, and for free the chance that nothing is wrong."""
        asked = self.span.prompt(lines, line)
        if asked is None:
            return []
        ids, length = asked
        logits = self.head(ids)[None]
        beams, done = [Beam()], []
        for step in range(ANSWER_TOKENS):
            grown = self._grow(beams, logits, length)
            floor = sorted((b.score for _, b in done), reverse=True)[self.width - 1 : self.width]
            beams = []
            for parent, beam in grown[: self.width]:
                if beam.ids[-1] == END:
                    done.append((parent, beam))
                elif not floor or beam.score > floor[0]:
                    beams.append((parent, beam))  # type: ignore[arg-type]
            if not beams:
                break
            logits, beams = self._advance(beams, len(ids) + step, step)  # type: ignore[arg-type]
        for sequence in range(1, 2 * self.width + 1):
            self.llama.cut(sequence)
        return self._texts(lines, line, [beam for _, beam in done])

    def _grow(self, beams: list[Beam], logits: NDArray[np.float32], length: int) -> list[tuple[int, Beam]]:
        grown = []
        for number, (beam, row) in enumerate(zip(beams, logits, strict=True)):
            mask = self.span.mask(beam.ids, length)
            row = np.where(mask, row, -np.inf)
            row = row - row.max()
            row = row - np.log(np.exp(row).sum())
            for token in np.argpartition(-row, self.width)[: self.width]:
                if row[token] > -20:
                    grown.append((number, Beam([*beam.ids, int(token)], beam.score + float(row[token]))))
        return sorted(grown, key=lambda pair: -pair[1].score)

    def _advance(
        self, beams: list[tuple[int, Beam]], position: int, step: int
    ) -> tuple[NDArray[np.float32], list[Beam]]:
        old, new = (1 if step % 2 else 1 + self.width), (1 + self.width if step % 2 else 1)
        for number, (parent, _) in enumerate(beams):
            self.llama.copy(old + parent if step else 0, new + number)
        for number in range(self.width):
            self.llama.cut(old + number)
        kept = [beam for _, beam in beams]
        self.decoded += len(kept)
        sequences = range(new, new + len(kept))
        return self.llama.decode([b.ids[-1] for b in kept], [position] * len(kept), sequences, [True] * len(kept)), kept

    def _texts(self, lines: Sequence[str], line: int, beams: list[Beam]) -> list[Answer]:
        seen: dict[str, Answer] = {}
        for beam in sorted(beams, key=lambda b: -b.score):
            new = self.span.apply(lines[line], beam.ids)
            if new is not None and new != lines[line]:
                text = "\n".join([*lines[:line], *([new] if new.strip() else []), *lines[line + 1 :]])
                seen.setdefault(text, Answer(text, beam.score, len(beam.ids)))
        return list(seen.values())[: self.width]

    def draw(self, lines: Sequence[str], line: int, count: int, rng: np.random.Generator) -> list[str]:
        """`count` independent answers at temperature 1, as texts of the function; unusable ones are left out."""
        asked = self.span.prompt(lines, line)
        if asked is None:
            return []
        ids, length = asked
        first = self.head(ids)
        for number in range(count):
            self.llama.copy(0, 1 + number)
        drawn: list[list[int]] = [[] for _ in range(count)]
        logits, alive = np.repeat(first[None], count, axis=0), list(range(count))
        for step in range(ANSWER_TOKENS):
            for row, number in zip(logits, alive, strict=True):
                mask = self.span.mask(drawn[number], length)
                noisy = np.where(mask, row - np.log(-np.log(rng.random(len(row)) + 1e-30) + 1e-30), -np.inf)
                drawn[number].append(int(noisy.argmax()))
            alive = [n for n in alive if drawn[n][-1] != END]
            if not alive:
                break
            self.decoded += len(alive)
            logits = self.llama.decode(
                [drawn[n][-1] for n in alive],
                [len(ids) + step] * len(alive),
                [1 + n for n in alive],
                [True] * len(alive),
            )
        for number in range(count):
            self.llama.cut(1 + number)
        texts = [self.span.apply(lines[line], answer) for answer in drawn]
        return [
            "\n".join([*lines[:line], *([t] if t.strip() else []), *lines[line + 1 :]]) for t in texts if t is not None
        ]
