"""The agent of span-edit models: which line next, which sort of answer, and what an answer is worth.

How a line is asked about, and what an answer means, is in `pointers`.
"""

import builtins
import keyword
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from swarmcode.agent.edits import edits, names_in
from swarmcode.agent.pointers import ChoiceConstraint, SpanConstraint, SpanPrompt, Speller, Trie
from swarmcode.agent.protocol import Assignment
from swarmcode.agent.schedule import schedule
from swarmcode.agent.window import cut
from swarmcode.diff import diff_text
from swarmcode.engine.protocol import Completion, Engine, Request, Sampling, Segment
from swarmcode.flow import Attempt, Ending, Subtask
from swarmcode.syntax import language_of
from swarmcode.tree import Tree

Answer = tuple[int, ...]
"""Tokens, the end mark included."""

_WORD = re.compile(r"[^\W\d]\w*")
_PYTHON_WORDS = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins)))

SMALL_EDIT, OWN_WORDS = math.log(0.7), math.log(0.3)
"""How likely the right answer is one of the small edits of its line, or something else."""
FREE_EVERY = 4
"""One answer in so many is in the model's own words."""
GROUP = 8
"""Small edits in a group, of which the model names its favourite."""
LEAST_SUSPICION = 1e-6
STRANGE_WORD = 4.0
"""Nats that a word costs which stands nowhere in the file: a small model makes names up, and they fail at run time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Answers from which the model takes one."""

    trie: Trie
    share: float
    """Log of the chance that the right one of the line's small edits is among them, before the model is asked: every
    kind of edit is as likely, and every edit of a kind."""


class Place:
    """A suspect line, and what can be asked about it: `kinds` are its small edits as answers, by kind, none empty."""

    def __init__(self, prompt: SpanPrompt, kinds: Sequence[Sequence[Answer]]) -> None:
        self.prompt = prompt
        self._choices = _choices(kinds)

    def choice(self, sample: int) -> Choice | None:
        """All samples but every fourth, from the first on, are choices, while there are any."""
        fours, rest = divmod(sample, FREE_EVERY)
        place = fours * (FREE_EVERY - 1) + rest - 1
        return self._choices[place] if rest and place < len(self._choices) else None


def _choices(kinds: Sequence[Sequence[Answer]]) -> tuple[Choice, ...]:
    """All together, then in small groups of a kind, then one by one: the model names its favourite of each, so that its
    own order is followed first and nothing is left out in the end."""
    every = [answer for kind in kinds for answer in kind]
    whole = [Choice(Trie.of(every), 0.0)] if every else []
    groups = [
        Choice(Trie.of(group), math.log(len(group) / len(kind) / len(kinds)))
        for size in (GROUP, 1)
        for kind in kinds
        for start in range(0, len(kind), size)
        for group in [kind[start : start + size]]
    ]
    return (*whole, *sorted(groups, key=lambda group: -group.share))


class SpanAgent:
    """Asks for one span edit an attempt, line by line over a subtask's suspects.

    Some answers are the model's own words; for the others it chooses among the well-formed small edits of the line
    (`edits`), of which a small model often names the right one first, while it spends most of its probability on what
    is none. An answer's log-probability is taken within its sort, so that both compete for the next test run.
    """

    def __init__(self, engine: Engine, tree: Tree, *, seed: int = 0) -> None:
        self._engine = engine
        self._tree = tree
        self._speller = Speller(engine)
        self._seed = seed
        self._places: dict[tuple[str, int], Place | None] = {}

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """Lines and samples by the chance that one more answer is the right one; long or unreadable lines left out."""
        suspects = [suspect for suspect in subtask.suspects if self._place(suspect.path, suspect.start)]
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
        place = self._place(suspect.path, suspect.start)
        assert place is not None, "unreadable lines are no assignments"
        choice = place.choice(assignment.sample)
        (completion,) = await self._engine.complete(self._request(place, assignment, choice))
        if completion.finish != "stop":
            return _attempt(assignment, "limit", completion, note="the answer did not end")
        new_line, note = self._speller.replaced(place.prompt.line, completion.tokens)
        if new_line is None:
            return _attempt(assignment, "gave_up", completion, note=note)
        old = self._tree.text(suspect.path)
        assert old is not None, "the prompt was cut from this text"
        diff = diff_text(suspect.path, old, place.prompt.window.replaced(old, new_line))
        if not diff:
            return _attempt(assignment, "gave_up", completion, note="the answer changes nothing")
        score = math.log(max(suspect.score, LEAST_SUSPICION)) + (choice.share + SMALL_EDIT if choice else OWN_WORDS)
        score += sum(completion.logprobs) - STRANGE_WORD * len(strange_words(suspect.path, old, new_line))
        return _attempt(assignment, "submitted", completion, diff=diff, score=score)

    def _place(self, path: str, line: int) -> Place | None:
        if (path, line) not in self._places:
            self._places[path, line] = self._make_place(path, line)
        return self._places[path, line]

    def _make_place(self, path: str, line: int) -> Place | None:
        text = self._tree.text(path)
        shape = self._speller.format
        window = cut(path, text, line, before=shape.before_lines, after=shape.after_lines) if text is not None else None
        prompt = self._speller.prompt(window) if window else None
        return Place(prompt, self._kinds(prompt)) if prompt else None

    def _request(self, place: Place, assignment: Assignment, choice: Choice | None) -> Request:
        marks = self._speller.marks
        free = SpanConstraint(len(place.prompt.line), marks)
        return Request(
            prompt=(Segment(tokens=place.prompt.tokens),),
            sampling=Sampling(
                temperature=0.0 if choice or not assignment.sample else 1.0,
                max_tokens=self._speller.format.answer_tokens,
            ),
            seeds=(assignment.seed,),
            stop_tokens=(marks.end,),
            constraint=ChoiceConstraint(choice.trie, marks) if choice else free,
        )

    def _kinds(self, prompt: SpanPrompt) -> list[list[Answer]]:
        """The small edits of a line as answers; those that the model cannot say are left out."""
        window = prompt.window
        names, attributes = names_in("\n".join((*window.above, *window.below)))
        kinds = []
        for kind in edits(window.line, names, attributes):
            answers = (self._speller.answer(prompt.line, new) for new in kind)
            kinds.append([answer for answer in answers if answer is not None])
        return [kind for kind in kinds if kind]


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
