"""The agent of span-edit models: each attempt is the best answer that is left, over all suspect lines of its subtask.

How a line is asked about, and what an answer means, is in `pointers`; in which order answers come, in `frontier`.
"""

from collections.abc import Iterator

from swarmcode.agent.pointers import Speller
from swarmcode.agent.proposal import Proposal
from swarmcode.agent.protocol import Assignment
from swarmcode.agent.search import Search
from swarmcode.diff import diff_text
from swarmcode.engine.protocol import Engine
from swarmcode.flow import Attempt, Subtask
from swarmcode.tree import Tree


class SpanAgent:
    """Proposes edits of one line, or of two. Its agents share one search: no two of them make the same proposal."""

    dear = False

    def __init__(self, engine: Engine, tree: Tree, *, agents: int = 100, seed: int = 0) -> None:
        """`agents`: answers that are worked on at once, at most."""
        self._engine = engine
        self._tree = tree
        self._speller = Speller(engine)
        self._agents = agents
        self._seed = seed
        self._searches: dict[str, Search] = {}

    def assignments(self, subtask: Subtask) -> Iterator[Assignment]:
        """As many as there are answers left; which is whose shows when it is made."""
        search = self._search(subtask)
        number = 0
        while not search.exhausted:
            yield Assignment(id=f"{subtask.id}.{number}", subtask=subtask, suspect=None, sample=number, seed=self._seed)
            number += 1

    async def attempt(self, assignment: Assignment) -> Attempt:
        """The best answer that nobody has got yet."""
        proposal = await self._search(assignment.subtask).following()
        if proposal is None:
            return Attempt(
                id=assignment.id,
                subtask=assignment.subtask.id,
                seed=assignment.seed,
                ending="gave_up",
                steps=0,
                note="nothing is left to propose",
            )
        return self._submitted(assignment, proposal)

    def _search(self, subtask: Subtask) -> Search:
        if subtask.id not in self._searches:
            self._searches[subtask.id] = Search(self._engine, self._tree, self._speller, subtask.suspects, self._agents)
        return self._searches[subtask.id]

    def _submitted(self, assignment: Assignment, proposal: Proposal) -> Attempt:
        return Attempt(
            id=assignment.id,
            subtask=assignment.subtask.id,
            seed=assignment.seed,
            ending="submitted",
            diff=diff_text(proposal.path, proposal.old, proposal.new),
            score=proposal.score,
            steps=proposal.steps,
            usage=proposal.usage,
        )
