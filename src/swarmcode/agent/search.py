"""The search of one subtask: its lines, the frontier of their answers, and the model that expands it, batch by batch.

Whoever wants an answer asks `following`; many may wait at once. While none is ready, the likeliest unfinished answers
are expanded together, as one batch of the engine: an expansion asks for the probabilities of the next token and costs
a few tokens, since the prompt before it is in the KV cache. When single edits have become unlikely, pairs of the best
follow (`proposal`).
"""

import asyncio
import math
from collections.abc import Sequence

from swarmcode.agent.frontier import Found, Frontier, Node, Worth
from swarmcode.agent.place import UNSEEN, Place, place_of
from swarmcode.agent.pointers import Answer, AnswerConstraint, Marks, Speller
from swarmcode.agent.proposal import Edit, Proposal, Proposals
from swarmcode.engine.protocol import Completion, Engine, Request, Sampling, Segment
from swarmcode.flow import Suspect, Usage
from swarmcode.tree import Tree

WORTH = Worth(trust=0.85, unlisted=-0.5, unseen=2.0)
SHARPNESS, DESCENT = 2.0, 0.5
"""Powers of a line's suspicion, and of its rank, with which it counts: by where faults in packages rank, and a little
less sharp than they would have it, for those that hide further down."""
LEAST_SUSPICION = 1e-6
SLACK = 1.5
"""Nats by which what is expanded in one batch may be worth less than the best of it: more of it is in vain."""
FOLLOWING = 96
"""Tokens that are followed from an unfinished answer, at most."""
FAINT = -9.0
"""Log-probability, at most, of a token that the model was not asked for, and that a small edit goes on with."""


class Search:
    """Proposals for the lines of a subtask, best first, each once."""

    def __init__(self, engine: Engine, tree: Tree, speller: Speller, suspects: Sequence[Suspect], width: int) -> None:
        """`width`: answers that are expanded at once, at most."""
        self._engine = engine
        self._tree = tree
        self._speller = speller
        self._suspects = suspects
        self._width = width
        self._places: dict[int, Place] = {}
        weights = [_weight(rank, suspect) for rank, suspect in enumerate(suspects, 1)]
        self._frontier = Frontier(weights, WORTH, UNSEEN, speller.marks.end, self._finish, self._hope)
        self._proposals = Proposals()
        self._lines: dict[tuple[int, Answer], str] = {}
        self._out: set[tuple[int, str]] = set()
        """Lines that came out: of several spellings of one, the best is first."""
        self._turn = asyncio.Lock()
        self._usage = Usage()
        self._steps = 0

    @property
    def exhausted(self) -> bool:
        """Whether no proposal is left."""
        return self._frontier.exhausted and not self._proposals

    async def following(self) -> Proposal | None:
        """The next proposal; None where none is left."""
        async with self._turn:
            while True:
                while (found := self._frontier.pop()) is not None:
                    if (edit := self._edit(found)) is not None:
                        self._proposals.add(edit)
                proposal = self._proposals.pop(self._frontier.bound, self._usage, self._steps)
                if proposal is not None:
                    self._usage, self._steps = Usage(), 0
                    return proposal
                if self._frontier.exhausted:
                    return None
                await self._expand()

    def _edit(self, found: Found) -> Edit | None:
        """None where another answer has said the same."""
        line = self._lines.pop((found.line, found.answer))
        if (found.line, line) in self._out:
            return None
        self._out.add((found.line, line))
        return Edit(place=self._places[found.line], line=line, logprob=found.logprob, score=found.score)

    async def _expand(self) -> None:
        """One batch. Where it is cancelled, the frontier is as before."""
        nodes = self._frontier.take(self._width, SLACK)
        try:
            asked = [(node, place) for node in nodes if (place := await self._place(node)) is not None]
            completions = await self._ask_all([(place, node.answer) for node, place in asked])
            for (node, place), completion in zip(asked, completions, strict=True):
                self._take(node, place, completion)
            self._steps += 1
        finally:
            self._frontier.give_back(nodes)

    async def _place(self, node: Node) -> Place | None:
        """The line that a node is about, made when it is first asked about; None, and the node is done with, where it
        cannot be."""
        if node.line not in self._places:
            # Parsing takes time: not in the event loop.
            made = await asyncio.to_thread(place_of, self._suspects[node.line], self._tree, self._speller)
            if made is None:
                self._frontier.put(node, (), None)
                return None
            self._places[node.line] = made
        return self._places[node.line]

    async def _ask_all(self, questions: Sequence[tuple[Place, Answer]]) -> list[Completion]:
        """All at once. Raises what the engine raises, alone: what ends one ends all."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(place, answer)) for place, answer in questions]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return [task.result() for task in tasks]

    async def _ask(self, place: Place, answer: Answer) -> Completion:
        (completion,) = await self._engine.complete(expansion(place, answer, self._speller.marks))
        return completion

    def _take(self, node: Node, place: Place, completion: Completion) -> None:
        self._usage += completion.usage
        listed = node.listed if node.answer else place.small
        following = dict(completion.tops[0])
        if len(node.answer) + 1 >= self._speller.format.answer_tokens:
            end = self._speller.marks.end
            following = {token: chance for token, chance in following.items() if token == end}
        elif listed:
            # No small edit is left out: what the model finds fainter than all that it was asked for comes behind them.
            faint = min([FAINT, *following.values()])
            following.update({token: faint for token in listed if token not in following})
        self._frontier.put(node, following.items(), listed)

    def _hope(self, number: int, answer: Answer) -> float:
        """As `frontier.Hope`."""
        place = self._places[number]
        line, _ = self._speller.replaced(place.prompt.line, answer[:-1])
        if line is None:
            return 0.0
        self._lines[number, answer] = line
        return place.hope(line)

    def _finish(self, number: int, answer: Answer) -> float | None:
        """As `frontier.Finish`: what is no text, changes nothing, or says what another has said, is no answer."""
        line = self._lines.get((number, answer))
        if line is None or (number, line) in self._out:
            return None
        return self._places[number].cost(line)


def expansion(place: Place, answer: Answer, marks: Marks, top: int = FOLLOWING) -> Request:
    """Asks for the probabilities of what may follow the beginning of an answer."""
    return Request(
        prompt=(Segment(tokens=place.prompt.tokens), Segment(tokens=answer)),
        sampling=Sampling(temperature=0.0, max_tokens=1),
        stop_tokens=(marks.end,),
        constraint=AnswerConstraint(answer, len(place.prompt.line), marks),
        top=top,
    )


def _weight(rank: int, suspect: Suspect) -> float:
    """Log of how likely the line is the faulty one: scores are no probabilities, and fall too slowly."""
    return SHARPNESS * math.log(max(suspect.score, LEAST_SUSPICION)) - DESCENT * math.log(rank)
