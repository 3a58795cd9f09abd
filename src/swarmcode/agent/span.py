"""Span edits: the protocol of the embedded model.

The model sees a window of code with one suspect line, whose tokens stand between numbered pointers, and answers which
of them to replace, and with what:

    begin  lines before  bug  P0 t0 P1 t1 ... tn-1 Pn  bug  lines after  fix    ->    Pa Pb r0 r1 ... end

Tokens a..b-1 give way to r0 r1 ...; a = b inserts, no r deletes. Nothing has to be copied, so an answer is three to
eight tokens long, and different samples are different edits. The idea of pointing instead of rewriting is that of
Allamanis et al., "Self-Supervised Bug Detection and Repair" (BugLab), 2021; the format is the embedded model's own.
"""

import builtins
import keyword
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from swarmcode.agent.protocol import Assignment
from swarmcode.agent.schedule import schedule
from swarmcode.agent.window import Window, cut
from swarmcode.diff import diff_text
from swarmcode.engine.protocol import Completion, Engine, Request, Sampling, Segment
from swarmcode.errors import ModelError
from swarmcode.flow import Attempt, Ending, Subtask
from swarmcode.syntax import language_of
from swarmcode.tree import Tree

_WORD = re.compile(r"[^\W\d]\w*")
_PYTHON_WORDS = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins)))

POINTERS = 64
"""P0..P63 are the last ids of the vocabulary."""
LONGEST_LINE = 60
"""Tokens of the suspect line; the model was trained on no longer ones."""
LONGEST_ANSWER = 40
POINTERS_NAMED = 2
"""An answer begins with the first token that goes, and the first that stays."""


LEAST_SUSPICION = 1e-6
STRANGE_WORD = 4.0
"""Nats that a word costs which stands nowhere in the file: a small model makes names up, and they fail at run time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Control tokens of the protocol."""

    pad: int
    end: int
    bug: int
    fix: int
    begin: int
    unknown: int
    """Stands for pieces of text whose ids the pointers took: the first ordinary token."""
    pointers: int
    """Id of P0."""

    @classmethod
    def of(cls, engine: Engine) -> "Marks":
        """Reads them from the vocabulary. Raises `ModelError` where it has none."""
        names = ("<|pad|>", "<|end|>", "<|bug|>", "<|fix|>", "<|begin|>")
        ids = [engine.tokenize(name, special=True) for name in names]
        if any(len(found) != 1 for found in ids):
            raise ModelError(f"{engine.profile.name} has no tokens for span edits", "choose another model with --model")
        pad, end, bug, fix, begin = (found[0] for found in ids)
        pointers = engine.profile.vocabulary - POINTERS
        unknown = max(pad, end, bug, fix, begin) + 1
        return cls(pad=pad, end=end, bug=bug, fix=fix, begin=begin, unknown=unknown, pointers=pointers)

    @property
    def never(self) -> tuple[int, ...]:
        """What is no part of a replacement, nor its end."""
        return self.pad, self.bug, self.fix, self.begin, self.unknown


@dataclass(frozen=True, slots=True)
class SpanConstraint:
    """Two pointers in order, then ordinary tokens until the end."""

    line_tokens: int
    """n: pointers P0..Pn may be named."""
    marks: Marks

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        """Mask of shape (vocabulary,): the pointers are the last part of it."""
        first = self.marks.pointers
        mask = np.zeros(first + POINTERS, dtype=np.bool_)
        last = first + self.line_tokens
        if len(generated) < POINTERS_NAMED:
            mask[(generated[0] if generated else first) : last + 1] = True
        else:
            mask[:first] = True
            mask[list(self.marks.never)] = False
        return mask


@dataclass(frozen=True, slots=True)
class SpanPrompt:
    """A window as the model reads it."""

    window: Window
    line: tuple[int, ...]
    """Tokens of the suspect line."""
    tokens: tuple[int, ...]
    """The whole prompt."""


class SpanAgent:
    """Asks for one span edit an attempt, line by line over a subtask's suspects."""

    def __init__(self, engine: Engine, tree: Tree, *, seed: int = 0) -> None:
        self._engine = engine
        self._tree = tree
        self._marks = Marks.of(engine)
        self._seed = seed
        self._prompts: dict[tuple[str, int], SpanPrompt | None] = {}

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """Lines and samples by the chance that one more answer is the right one; long or unreadable lines left out."""
        suspects = [suspect for suspect in subtask.suspects if self._prompt(suspect.path, suspect.start)]
        for number, (place, sample) in enumerate(schedule([suspect.score for suspect in suspects])):
            yield Assignment(
                id=f"{subtask.id}.{number}",
                subtask=subtask,
                suspect=suspects[place],
                sample=sample,
                seed=self._seed + sample,
            )

    async def attempt(self, assignment: Assignment) -> Attempt:
        """One answer for one line."""
        suspect = assignment.suspect
        assert suspect is not None, "a span agent is always given a line"
        prompt = self._prompt(suspect.path, suspect.start)
        assert prompt is not None, "unreadable lines are no assignments"
        (completion,) = await self._engine.complete(self._request(prompt, assignment))
        new_line, note = self._replaced(prompt, completion)
        if new_line is None:
            return _attempt(assignment, "gave_up" if completion.finish == "stop" else "limit", completion, note=note)
        old = self._tree.text(suspect.path)
        assert old is not None, "the prompt was cut from this text"
        diff = diff_text(suspect.path, old, prompt.window.replaced(old, new_line))
        if not diff:
            return _attempt(assignment, "gave_up", completion, note="the answer changes nothing")
        score = sum(completion.logprobs) + math.log(max(suspect.score, LEAST_SUSPICION))
        score -= STRANGE_WORD * len(strange_words(suspect.path, old, new_line))
        return _attempt(assignment, "submitted", completion, diff=diff, score=score)

    def _prompt(self, path: str, line: int) -> SpanPrompt | None:
        if (path, line) not in self._prompts:
            self._prompts[path, line] = self._make_prompt(path, line)
        return self._prompts[path, line]

    def _make_prompt(self, path: str, line: int) -> SpanPrompt | None:
        text = self._tree.text(path)
        window = cut(path, text, line) if text is not None else None
        if window is None:
            return None
        suspect_line = self._engine.tokenize(window.line)
        if not 0 < len(suspect_line) <= LONGEST_LINE:
            return None
        marks = self._marks
        marked = [marks.pointers]
        for place, token in enumerate(suspect_line, start=1):
            marked += [self._known(token), marks.pointers + place]
        before = [self._known(token) for token in self._engine.tokenize(window.before)]
        after = [self._known(token) for token in self._engine.tokenize("\n" + window.after)]
        tokens = (marks.begin, *before, marks.bug, *marked, marks.bug, *after, marks.fix)
        return SpanPrompt(window, suspect_line, tokens)

    def _known(self, token: int) -> int:
        """Pieces of text whose ids the pointers took are unknown to the model."""
        return self._marks.unknown if token >= self._marks.pointers else token

    def _request(self, prompt: SpanPrompt, assignment: Assignment) -> Request:
        return Request(
            prompt=(Segment(tokens=prompt.tokens),),
            sampling=Sampling(temperature=1.0 if assignment.sample else 0.0, max_tokens=LONGEST_ANSWER),
            seeds=(assignment.seed,),
            stop_tokens=(self._marks.end,),
            constraint=SpanConstraint(len(prompt.line), self._marks),
        )

    def _replaced(self, prompt: SpanPrompt, completion: Completion) -> tuple[str | None, str]:
        """The new line, or None and why there is none."""
        if completion.finish != "stop" or len(completion.tokens) < POINTERS_NAMED:
            return None, "the answer did not end"
        start, end = (token - self._marks.pointers for token in completion.tokens[:POINTERS_NAMED])
        if not 0 <= start <= end <= len(prompt.line):
            return None, "the answer points outside the line"
        tokens = (*prompt.line[:start], *completion.tokens[POINTERS_NAMED:], *prompt.line[end:])
        try:
            return self._engine.detokenize(tokens).decode(), ""
        except UnicodeDecodeError:
            return None, "the answer is no UTF-8"


def strange_words(path: str, text: str, new_line: str) -> frozenset[str]:
    """Words of a new line that stand nowhere in its file and mean nothing to the language (so far: Python alone)."""
    if language_of(path) != "python":
        return frozenset()
    return frozenset(_WORD.findall(new_line)) - _words(text) - _PYTHON_WORDS


@lru_cache(maxsize=32)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


def _attempt(
    assignment: Assignment,
    ending: Ending,
    completion: Completion,
    *,
    diff: str = "",
    score: float = float("-inf"),
    note: str = "",
) -> Attempt:
    return Attempt(
        id=assignment.id,
        subtask=assignment.subtask.id,
        seed=assignment.seed,
        ending=ending,
        diff=diff,
        score=score,
        usage=completion.usage,
        note=note,
    )
