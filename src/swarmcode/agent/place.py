"""A suspect line as the model is asked about it, and what its answers make of the file."""

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import or_

from swarmcode.agent.donors import DONATIONS, Donation, donations
from swarmcode.agent.edits import KINDS, Kind, Sight, edits, sight
from swarmcode.agent.edits.words import Line
from swarmcode.agent.flaws import COMMON_ATTRIBUTES
from swarmcode.agent.pointers import Answer, Favour, SpanPrompt, Speller, Trie
from swarmcode.agent.sense import MOST_MENDED, Sense, sense
from swarmcode.agent.statement import can_follow
from swarmcode.agent.window import Window, code_lines, cut
from swarmcode.flow import Suspect
from swarmcode.syntax import language_of
from swarmcode.tree import Tree

_WORD = re.compile(r"[^\W\d]\w*")
_PYTHON_WORDS = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins)))

Sort = Donation | Kind
"""What is known of an edit without the model."""
SORTS: tuple[Sort, ...] = (*DONATIONS, *KINDS)

FAVOUR: Mapping[Sort, Favour] = {
    "twin": Favour(1.5, -1.3),
    "neighbour": Favour(1.5, -2.0),
    "alike": Favour(0.2, -2.7),
    "kin": Favour(0.0, -4.5),
    "beside": Favour(0.0, -4.9),
    "swap": Favour(0.4, -4.3),
    "one off": Favour(0.25, -5.1),
    "negation": Favour(0.15, -3.4),
    "order": Favour(0.0, -3.9),
    "name": Favour(-0.05, -5.8),
    "owner": Favour(-0.1, -7.0),
    "constant": Favour(-0.15, -5.5),
    "condition": Favour(0.0, -5.9),
    "slice": Favour(0.0, -6.5),
    "result": Favour(-0.1, -6.8),
    "argument": Favour(-0.2, -6.8),
    "call": Favour(-0.15, -7.6),
}
"""What speaks for an edit by its sort. Bonuses are half of what `bench/calibrate.py` fits for lines of the file, and
for small edits a quarter of what it fitted to a weaker model; floors are the log of how often one such edit of the
faulty line is the right one, less 1."""
UNSEEN = reduce(or_, (FAVOUR[kind] for kind in KINDS))
"""What may speak for an answer about a line that was not looked at yet: that it has a twin is too seldom to be hoped
for."""

STRANGE_WORD, COMMON_WORD = 2.0, 1.0
"""Nats that a word costs which stands nowhere in the file: a small model makes names up, and they fail at run time; and
one that is an attribute of a built-in type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line that can be asked about."""

    suspect: Suspect
    text: str
    """Of the whole file."""
    prompt: SpanPrompt
    small: Trie
    """Answers that are well-formed small edits of the line, or lines of its file, with what speaks for their sort."""
    sense: Sense | None
    """None where nothing can be said of the function around it."""

    def hope(self, line: str) -> float:
        """Nats, at least 0, by which `cost` may be below 0; quick, and blind for what has to do with no names."""
        if self.sense is None or not _concerns(self.sense, self.prompt.window.line, line):
            return 0.0
        return MOST_MENDED

    def cost(self, line: str) -> float | None:
        """Nats that another line costs beyond what the model thinks of it, below 0 where much speaks for it; None where
        it cannot stand in place of this one."""
        path, old = self.suspect.path, self.prompt.window.line
        if self.sense is not None:
            cost = self.sense.cost(self.prompt.window.lines(line))
        else:
            cost = 0.0 if _fits(path, old, line) else None
        if cost is None or line == old:
            return None
        return cost + strangeness(path, self.text, line)


def place_of(suspect: Suspect, tree: Tree, speller: Speller) -> Place | None:
    """None for a line that is too long, holds no code, or lies in a file that nobody can parse."""
    text = tree.text(suspect.path)
    shape = speller.format
    if text is None:
        return None
    window = cut(suspect.path, text, suspect.start, before=shape.before_lines, after=shape.after_lines)
    prompt = speller.prompt(window) if window else None
    if window is None or prompt is None:
        return None
    made = sense(suspect.path, text, suspect.start)
    small = Trie.of(
        (answer, replace(FAVOUR[sort], hope=_hope(made, window, new)))
        for answer, (sort, new) in _small_edits(suspect.path, text, prompt, speller, made).items()
    )
    return Place(suspect=suspect, text=text, prompt=prompt, small=small, sense=made)


def small_edits(path: str, text: str, prompt: SpanPrompt, speller: Speller, sense: Sense | None) -> dict[Answer, Sort]:
    """Those of a line, and lines of its file that may stand for it, as answers; left out is what the model cannot say,
    and what breaks the syntax."""
    return {answer: sort for answer, (sort, _) in _small_edits(path, text, prompt, speller, sense).items()}


def _small_edits(
    path: str, text: str, prompt: SpanPrompt, speller: Speller, sense: Sense | None
) -> dict[Answer, tuple[Sort, str]]:
    """As `small_edits`, with the new lines."""
    window = prompt.window
    near = sight("\n".join((*window.above, *window.below)))
    if sense is not None:
        # Names that wait for being read or bound come before all others, and what the class names before the rest of
        # its file.
        near = Sight(names=sorted(sense.found.idle) + sorted(sense.found.unbound)) | near | _elsewhere(sense.home(text))
    found: dict[Answer, tuple[Sort, str]] = {}
    for sort, new in (*_donated(path, text, window), *_edited(window.line, near | _elsewhere(text))):
        answer = speller.answer(prompt.line, new) if _fits(path, window.line, new) else None
        if answer is not None:
            found.setdefault(answer, (sort, new))
    return found


def _hope(sense: Sense | None, window: Window, new: str) -> float:
    """What a listed line gains that has to do with names which nothing reads or binds."""
    if sense is None or not _concerns(sense, window.line, new):
        return 0.0
    cost = sense.cost(window.lines(new))
    return 0.0 if cost is None else max(0.0, -cost)


def _concerns(sense: Sense, old: str, new: str) -> bool:
    """Whether a new line names more or fewer of those that nothing reads or binds."""
    waiting = sense.found.idle | sense.found.unbound
    return bool(waiting) and _told(old, waiting) != _told(new, waiting)


def _told(line: str, names: frozenset[str]) -> Counter[str]:
    return Counter(word for word in _WORD.findall(line) if word in names)


def _donated(path: str, text: str, window: Window) -> Iterator[tuple[Sort, str]]:
    code = code_lines(path, text.encode())
    lead = window.line[: len(window.line) - len(window.line.lstrip())]
    for new, sort in donations(list(code.values()), list(code).index(window.number - 1)).items():
        yield sort, lead + new


def _edited(line: str, around: Sight) -> Iterator[tuple[Sort, str]]:
    for kind, texts in edits(line, around).items():
        for new in texts:
            yield kind, new


def _elsewhere(text: str) -> Sight:
    """What the rest of the file names: its variables mean nothing here."""
    return replace(sight(text), names=(), numbers=())


def _fits(path: str, old: str, new: str) -> bool:
    """Whether a line can stand in place of another, as far as that is seen without the file around it."""
    return language_of(path) != "python" or can_follow(old, new)


def strangeness(path: str, text: str, new_line: str) -> float:
    """Nats that a new line costs for words that stand nowhere in its file and mean nothing to the language (so far:
    Python alone); in literals whether their letters are capital makes no difference."""
    if language_of(path) != "python":
        return 0.0
    told = (each.text for each in Line.of(new_line).words if each.kind == "string")
    alike = {word for each in told for word in _WORD.findall(each) if word.lower() in _lower_words(text)}
    strange = {*_WORD.findall(new_line)} - alike - _words(text) - _PYTHON_WORDS
    return sum(COMMON_WORD if word in COMMON_ATTRIBUTES else STRANGE_WORD for word in strange)


@lru_cache(maxsize=32)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


@lru_cache(maxsize=32)
def _lower_words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _words(text))
