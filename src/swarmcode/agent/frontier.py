"""Best-first search over answers: all suspect lines share one frontier of unfinished answers.

An answer is a sequence of tokens that closes with the end mark. What an unfinished one can still be worth is bounded
from above, because every token that is added costs probability; so the likeliest beginnings, of whatever line, are
expanded first, and a finished answer comes out the moment that no open beginning could beat it. Every answer comes out
once, in the order of its worth, and a line is not even looked at before its suspicion is worth it. This is A* over the
tree of token sequences (Hart, Nilsson, Raphael 1968), as in best-first decoding (Meister, Vieira, Cotterell: Best-First
Beam Search, TACL 2020).

Pure: whoever asks expands what `take` gives, in the order and the number that it likes, and tells `put`.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from swarmcode.agent.pointers import Answer, Favour, Trie


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An unfinished answer."""

    line: int
    """Index of the line that it is about."""
    answer: Answer
    logprob: float
    """Natural log-probability of its tokens, as the model has it."""
    listed: Trie | None
    """How the listed answers that begin like it go on; None where none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finished answer."""

    line: int
    answer: Answer
    logprob: float
    """As the model has it."""
    score: float
    """Log of its worth, comparable between lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What the log of an answer's worth is made of, beside the suspicion of its line: the model's probability, to a
    power and with the bonus of its kind, or what is known without the model, whichever is more."""

    trust: float
    """What a nat of the model's probability counts, more than 0."""
    unlisted: float = 0.0
    """Bonus of an answer that is not listed."""
    unseen: float = 0.0
    """Nats by which the best answer about a line that was not looked at yet is taken to fall short of the bound. More
    than 0 looks at fewer lines, and may let an answer out before a better one."""
    faintest: float = -16.0
    """Beginnings of less log-probability than this are not followed, unless they are listed."""


Finish = Callable[[int, Answer], float | None]
"""(line, answer) -> nats that the finished answer costs beyond its probability, or None where it is no answer. It takes
time, so it is asked only about answers that are the best as far as is known. Where the cost is below 0, and nothing has
let that be hoped for, the answer is worth more than could be told before."""
Hope = Callable[[int, Answer], float]
"""(line, answer) -> nats, at least 0, by which its cost may be below 0; quick."""


class Frontier:
    """The unfinished answers about some lines, and the finished ones that wait for their turn."""

    def __init__(
        self,
        weights: Sequence[float],
        worth: Worth,
        unseen: Favour,
        end: int,
        finish: Finish,
        hope: Hope = lambda line, answer: 0.0,
    ) -> None:
        """`weights`: of each line, the log of its suspicion; `unseen`: the most that is hoped to speak for an answer
        about a line that was not looked at yet; `end`: the token that finishes an answer."""
        self._weights = weights
        self._worth = worth
        self._end = end
        self._finish = finish
        self._hope = hope
        self._numbers = itertools.count()
        # Heaps of (minus what it is worth, number, item): the best first, and of equals the one that came first.
        self._open: list[tuple[float, int, Node]] = []
        self._found: list[tuple[float, int, Found]] = []
        self._priced: set[tuple[int, Answer]] = set()
        """Of those that are found, the ones whose cost is known, and in their scores."""
        self._taken: dict[int, float] = {}
        """Id of a node that is being expanded -> its bound."""
        for line in range(len(weights)):
            self._push(Node(line=line, answer=(), logprob=0.0, listed=Trie(unseen)))

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to expand, nor to come out."""
        return not (self._open or self._taken or self._found)

    @property
    def bound(self) -> float:
        """What anything that is not finished can be worth at most."""
        best = -self._open[0][0] if self._open else float("-inf")
        return max(best, max(self._taken.values(), default=float("-inf")))

    def pop(self) -> Found | None:
        """The best finished answer, if nothing unfinished could beat it."""
        while self._found and -self._found[0][0] >= self.bound:
            found = heapq.heappop(self._found)[2]
            answer = found.line, found.answer
            if answer in self._priced:
                self._priced.remove(answer)
                return found
            if (cost := self._finish(*answer)) is not None:
                self._priced.add(answer)
                self._wait(replace(found, score=found.score - cost))
        return None

    def take(self, count: int, slack: float = float("inf")) -> list[Node]:
        """Up to `count` nodes that are to be expanded next, none of them worth `slack` less than the best; each must
        come back by `put` or `give_back`."""
        entries: list[tuple[float, int, Node]] = []
        while self._open and len(entries) < count and self._open[0][0] <= (entries or self._open)[0][0] + slack:
            entries.append(heapq.heappop(self._open))
        self._taken.update({id(node): -cost for cost, _, node in entries})
        return [node for _, _, node in entries]

    def put(self, node: Node, following: Iterable[tuple[int, float]], listed: Trie | None) -> None:
        """A taken node, with tokens that may follow it and their natural log-probabilities; `listed` as in `Node`."""
        del self._taken[id(node)]
        for token, logprob in following:
            child = Node(
                line=node.line,
                answer=(*node.answer, token),
                logprob=node.logprob + logprob,
                listed=None if listed is None else listed.get(token),
            )
            if token == self._end:
                self._close(child)
            elif child.listed is not None or child.logprob >= self._worth.faintest:
                self._push(child)

    def give_back(self, nodes: Iterable[Node]) -> None:
        """Taken nodes that were not expanded; those that came back already are ignored."""
        for node in nodes:
            if self._taken.pop(id(node), None) is not None:
                self._push(node)

    def _push(self, node: Node) -> None:
        heapq.heappush(self._open, (-self._bound(node), next(self._numbers), node))

    def _close(self, node: Node) -> None:
        favour = node.listed.favour if node.listed is not None else Favour(self._worth.unlisted)
        found = Found(line=node.line, answer=node.answer, logprob=node.logprob, score=self._value(node, favour))
        self._wait(found, max(favour.hope, self._hope(node.line, node.answer)))

    def _wait(self, found: Found, hope: float = 0.0) -> None:
        heapq.heappush(self._found, (-found.score - hope, next(self._numbers), found))

    def _bound(self, node: Node) -> float:
        """What an unfinished answer can be worth at most."""
        favour = Favour(self._worth.unlisted)
        if node.listed is not None:
            favour |= node.listed.favour
        return self._value(node, favour) + favour.hope - (0.0 if node.answer else self._worth.unseen)

    def _value(self, node: Node, favour: Favour) -> float:
        told = self._worth.trust * node.logprob + favour.bonus
        return self._weights[node.line] + max(told, favour.floor)
