"""Which tokens the scheduler is told that sequences may go on with: those that are likely to be worth their time."""

from array import array
from collections.abc import Callable, Iterable, Sequence

from swarmcode.engine.answer import Answer
from swarmcode.engine.draft import DEPTHS, Drafting
from swarmcode.engine.pace import Pace

DEAR = 0.9
"""Where a token more for every sequence takes so much of what a step takes, or more, nobody looks for guesses: only a
text that repeats itself without end would pay."""
CROWD = 64
"""Sequences that decode at once, at most, for which there are guesses. So many gained a fifth to two fifths. A step
that a larger crowd shares is cheap for each; looking for guesses is not."""
LATE = 16
"""Tokens that an answer may still have, for which nobody begins to read its prompt."""


class Guesses:
    """A drafter for each sequence that decodes, and what a guess costs."""

    def __init__(self, drafter: Callable[[Sequence[int]], Drafting]) -> None:
        """`drafter`: for a sequence that begins so."""
        self._new = drafter
        self._pace = Pace()
        self._drafters: dict[int, Drafting] = {}

    @property
    def known(self) -> bool:
        """Whether it is known what a guess costs."""
        return self._pace.known

    def costs(self, running: int, crowd: int) -> "array[float] | None":
        """What a step costs by the tokens that are guessed in it, as drafters want it; None where nothing is to be
        guessed. `running`: sequences that decode; `crowd`: how many will soon."""
        if not 0 < running <= crowd <= CROWD or not self._pace.known:
            return None
        none, one = self._pace.seconds(running), self._pace.seconds(running * 2)
        if one >= (1 + DEAR) * none:
            return None
        return array("d", [none, *(self._pace.seconds(running * (1 + count)) for count in DEPTHS)])

    def drafter(self, sequence: int, prompt: tuple[int, ...], answer: Answer) -> Drafting | None:
        """The drafter of a sequence with its prompt and its answer so far; None where it is too early or too late."""
        drafter = self._drafters.get(sequence)
        if not answer.tokens or answer.left <= (1 if drafter else LATE):
            return None
        if drafter is None:
            drafter = self._drafters[sequence] = self._new(prompt)
        drafter.extend(answer.tokens[drafter.length - len(prompt) :])
        return drafter

    def make(
        self, costs: "array[float]", answers: Iterable[tuple[int, tuple[int, ...], Answer]]
    ) -> dict[int, list[int]]:
        """Guessed tokens by sequence. `answers`: each sequence with its prompt and its answer so far."""
        found: dict[int, list[int]] = {}
        for sequence, prompt, answer in answers:
            drafter = self.drafter(sequence, prompt, answer)
            if drafter and (guess := drafter.propose(costs)):
                found[sequence] = guess
        return found

    def learn(self, steps: Iterable[tuple[int, float]]) -> None:
        """How many tokens there were in steps without prompts, and how long they took."""
        for tokens, seconds in steps:
            self._pace.observe(tokens, seconds)

    def drop(self, sequence: int) -> None:
        """The sequence has ended. Idempotent."""
        self._drafters.pop(sequence, None)
