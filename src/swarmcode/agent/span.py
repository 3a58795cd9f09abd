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

from swarmcode.agent.edits import edits, names_in
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


SMALL_EDIT, OWN_WORDS = math.log(0.7), math.log(0.3)
"""How likely the right answer is one of the small edits of its line, or something else."""
FREE_EVERY = 4
"""One answer in so many is in the model's own words."""
GROUP = 8
"""Small edits in a group, of which the model names its favourite."""
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
    choices: "tuple[Choice, ...]"
    """The small edits of the line, in groups; may be empty."""


@dataclass(frozen=True, slots=True)
class ChoiceConstraint:
    """One of some answers, spelled out: a trie of tokens, each branch ended by the end mark."""

    trie: "Trie"
    marks: Marks

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        """Mask of shape (vocabulary,)."""
        node: Trie = self.trie
        for token in generated:
            node = node.get(token, Trie())
        mask = np.zeros(self.marks.pointers + POINTERS, dtype=np.bool_)
        mask[list(node)] = True
        return mask


class Trie(dict[int, "Trie"]):
    """Token -> what may follow it."""

    def add(self, tokens: Sequence[int]) -> None:
        """Adds one branch."""
        node = self
        for token in tokens:
            node = node.setdefault(token, Trie())


@dataclass(frozen=True, slots=True)
class Choice:
    """A group of answers from which the model takes one."""

    trie: Trie
    share: float
    """Log of the chance that the right one of the line's small edits is in the group, before the model is asked: every
    kind of edit is as likely, and every edit of a kind."""

    @classmethod
    def among(cls, answers: Sequence[Sequence[int]], share: float) -> "Choice":
        """The group of `answers`."""
        trie = Trie()
        for answer in answers:
            trie.add(answer)
        return cls(trie, share)


class SpanAgent:
    """Asks for one span edit an attempt, line by line over a subtask's suspects.

    Some answers are the model's own words; for the others it chooses among the well-formed small edits of the line
    (`edits`), which a small model may find likely and yet hardly ever spells out by itself. An answer's log-probability
    is taken within its sort, so that both compete on equal terms for the next test run.
    """

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
        choice = _choice(prompt, assignment)
        score += choice.share + SMALL_EDIT if choice else OWN_WORDS
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
        return SpanPrompt(window, suspect_line, tokens, self._choices(window, suspect_line))

    def _known(self, token: int) -> int:
        """Pieces of text whose ids the pointers took are unknown to the model."""
        return self._marks.unknown if token >= self._marks.pointers else token

    def _request(self, prompt: SpanPrompt, assignment: Assignment) -> Request:
        choice = _choice(prompt, assignment)
        free = SpanConstraint(len(prompt.line), self._marks)
        return Request(
            prompt=(Segment(tokens=prompt.tokens),),
            sampling=Sampling(temperature=0.0 if choice or not assignment.sample else 1.0, max_tokens=LONGEST_ANSWER),
            seeds=(assignment.seed,),
            stop_tokens=(self._marks.end,),
            constraint=ChoiceConstraint(choice.trie, self._marks) if choice else free,
        )

    def _choices(self, window: Window, line: tuple[int, ...]) -> tuple[Choice, ...]:
        """All small edits of a line together, then in small groups of a kind, then one by one: the model names its
        favourite of each, so that its own order is followed first and nothing is left out in the end."""
        names, attributes = names_in(window.before + window.after)
        kinds = []
        for kind in edits(window.line, names, attributes):
            answers = [self._answer(line, self._engine.tokenize(new)) for new in kind]
            kinds.append([answer for answer in answers if answer is not None])
        kinds = [kind for kind in kinds if kind]
        whole = [Choice.among([answer for kind in kinds for answer in kind], 0.0)] if kinds else []
        groups = [
            Choice.among(kind[start : start + size], math.log(len(kind[start : start + size]) / len(kind) / len(kinds)))
            for size in (GROUP, 1)
            for kind in kinds
            for start in range(0, len(kind), size)
        ]
        return (*whole, *sorted(groups, key=lambda group: -group.share))

    def _answer(self, old: Sequence[int], new: Sequence[int]) -> tuple[int, ...] | None:
        """The shortest answer that makes `new` of `old`; None where the model cannot say it."""
        same = next((place for place, (one, two) in enumerate(zip(old, new, strict=False)) if one != two), None)
        start = min(len(old), len(new)) if same is None else same
        end = 0
        while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
            end += 1
        inserted = new[start : len(new) - end]
        never = {*self._marks.never, self._marks.end}
        if len(inserted) > LONGEST_ANSWER - POINTERS_NAMED - 1 or any(
            token in never or token >= self._marks.pointers for token in inserted
        ):
            return None
        first = self._marks.pointers
        return first + start, first + len(old) - end, *inserted, self._marks.end

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


def _choice(prompt: SpanPrompt, assignment: Assignment) -> Choice | None:
    """All answers but every fourth, from the first on, are choices, while there are groups to choose from."""
    fours, rest = divmod(assignment.sample, FREE_EVERY)
    place = fours * (FREE_EVERY - 1) + rest - 1
    return prompt.choices[place] if rest and place < len(prompt.choices) else None


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
