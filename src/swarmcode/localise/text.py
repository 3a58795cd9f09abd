"""Which functions a text speaks of: its words against names and identifiers. Pure.

Weighted as by BM25 (Robertson, Zaragoza, "The Probabilistic Relevance Framework", 2009): a word that few functions hold
tells more than one that many do, and its tenth occurrence tells little. Identifiers are split at underscores and
capitals, and count as a whole too.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"[^\W\d]\w*")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\dA-Za-z_]+")
_CODE: Final = re.compile(
    r"`+([^`\n]{1,200})`+|\b(\w+(?:\.\w+)+|\w+_\w+|[a-z]+[A-Z]\w*|\w+)\(|\b(\w*[a-z][A-Z]\w*|\w+_\w+)\b"
)
_SATURATION: Final = 1.2
_LENGTH: Final = 0.6
_MOST_TERMS: Final = 60
_CODE_WEIGHT: Final = 2.5
"""How much more a word tells that the text shows as code."""
_STEM: Final = re.compile(r"(?<=\w{3})(?:ing|ed|es|er|s|e)$")

_ORDINARY: Final = """
a about above actual actually after again all also although always am an and any anything are as assert at be
because been before being below both bug but by call called calls can cannot case code could def did do does doing
done down each else error errors example except expect expected fail failed failing fails false file files find
first fix for from function get gets getting give given gives go got had has have having he hello help here how i if
import in instead into is issue it its itself just last let like line lines list little look make makes many may me
method might more most must my need never new no none not nothing now of off on once one only or other our out over
own please problem python raise raises recent result return returned returns run running same see seem seems self
set should show since so some something still such test tests than thank thanks that the their them then there these
they thing this those though through to today too traceback true try trying two under unexpected until up us use
used user users using value values version very want was way we well were what when where which while who why will
with within without work works would wrong yes yet you your
"""
"""Words that reports of any fault hold."""
_EMPTY_WORDS: Final = frozenset(_ORDINARY.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Something that a text may speak of: its words, counted once however often it is asked about."""

    name: str
    """Qualified."""
    words: Counter[str]
    """How often each stands in it; those of its name and of its path count for more."""
    length: int
    """Of all words together."""

    @classmethod
    def of(cls, *, name: str, path: str, body: str) -> "Document":
        words = Counter(_words(body))
        for source, worth in ((name, 5), (path, 2)):
            for word in _words(source):
                words[word] += worth
        return cls(name=name, words=words, length=words.total())


def terms(text: str) -> dict[str, float]:
    """Telling words of a text, lower case -> weight; what is shown as code weighs more. At most 60, heaviest first."""
    weights: dict[str, float] = {}
    code = " ".join(part for match in _CODE.finditer(text) for part in match.groups() if part)
    for source, weight in ((text, 1.0), (code, _CODE_WEIGHT)):
        for word in _words(source):
            if len(word) > 1 and word not in _EMPTY_WORDS:
                weights[word] = max(weight, weights.get(word, 0.0))
    return dict(sorted(weights.items(), key=lambda item: (-item[1], -len(item[0]), item[0]))[:_MOST_TERMS])


def match(query: Mapping[str, float], documents: Sequence[Document]) -> list[float]:
    """How well each document answers a query of `terms`: 0 where it holds none of them, 1 for the best of all."""
    held = {term: sum(term in document.words for document in documents) for term in query}
    average = sum(document.length for document in documents) / max(len(documents), 1)
    scores = []
    for document in documents:
        spread = 1 - _LENGTH + _LENGTH * document.length / max(average, 1)
        scores.append(
            sum(
                weight
                * _rarity(held[term], len(documents))
                * count
                * (_SATURATION + 1)
                / (count + _SATURATION * spread)
                for term, weight in query.items()
                if (count := document.words[term])
            )
        )
    best = max(scores, default=0.0)
    return [score / best if best else 0.0 for score in scores]


def coarse(query: Mapping[str, float], contents: Mapping[str, bytes]) -> dict[str, float]:
    """A quick look at whole files, to tell which of thousands are worth a closer one: path -> score, above 0 only."""
    needles = {term: term.encode() for term in query}
    holders: dict[str, set[str]] = {term: set() for term in query}
    for path, content in contents.items():
        lowered = content.lower()
        name = path.lower().encode(errors="replace")
        for term, needle in needles.items():
            if needle in lowered or needle in name:
                holders[term].add(path)
    scores: dict[str, float] = {}
    for term, paths in holders.items():
        rarity = query[term] * _rarity(len(paths), len(contents))
        for path in paths:
            in_name = term in path.lower()
            scores[path] = scores.get(path, 0.0) + rarity * (2 if in_name else 1)
    return scores


def _rarity(holders: int, total: int) -> float:
    return math.log(1 + (total - holders + 0.5) / (holders + 0.5))


def _words(text: str) -> list[str]:
    """Identifiers in lower case, and their parts where they have several; plurals and tenses taken off the parts."""
    found = []
    for word in _WORD.findall(text):
        whole = word.lower()
        found.append(whole)
        for part in _PART.findall(word):
            stem = _STEM.sub("", part.lower())
            if stem != whole:
                found.append(stem)
    return found
