"""Which tokens the scheduler is told that sequences may go on with: those that are likely to be worth their time."""

from collections.abc import Iterable

from swarmcode.engine.answer import Answer
from swarmcode.engine.draft import DEPTHS, Drafter, depth
from swarmcode.engine.pace import Pace
from swarmcode.engine.step import Step

DEAR = 0.9
"""Where a token more for every sequence takes so much of what a step takes, or more, nobody looks for guesses: only a
text that repeats itself without end would pay."""

CROWD = 64
"""Sequences that decode at once, at most, for which there are guesses. So many gained a fifth to two fifths. A step
that a larger crowd shares is cheap for each; looking for guesses is not."""


class Guesses:
    """A drafter for each sequence that decodes, and what a guess costs."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._drafters: dict[int, Drafter] = {}

    def make(self, running: int, answers: Iterable[tuple[int, tuple[int, ...], Answer]]) -> dict[int, list[int]]:
        """Guessed tokens by sequence. `answers`: each sequence with its prompt and its answer so far; `running`: how
        many of them decode."""
        if not 0 < running <= CROWD or not self._pace.known:
            return {}
        none, one = self._pace.seconds(running), self._pace.seconds(running * 2)
        if one >= (1 + DEAR) * none:
            return {}
        found: dict[int, list[int]] = {}
        costs: dict[int, float] = {}
        for sequence, prompt, answer in answers:
            if 0 < len(answer.tokens) < answer.request.sampling.max_tokens - 1:
                drafter = self._drafter(sequence, prompt, answer)
                if drafter.trust:
                    costs = costs or {count: self._pace.seconds(running * (1 + count)) for count in (0, *DEPTHS)}
                    if guess := drafter.guess(depth(drafter.trust, drafter.goes_on, costs)):
                        found[sequence] = guess
        return found

    def learn(self, step: Step, seconds: float) -> None:
        """How long a step took; only steps without prompts tell what a token more costs."""
        if not step.prefilled:
            self._pace.observe(len(step.tokens), seconds)

    def drop(self, sequence: int) -> None:
        """The sequence has ended. Idempotent."""
        self._drafters.pop(sequence, None)

    def _drafter(self, sequence: int, prompt: tuple[int, ...], answer: Answer) -> Drafter:
        drafter = self._drafters.get(sequence)
        if drafter is None:
            drafter = self._drafters[sequence] = Drafter(prompt)
        drafter.extend(answer.tokens[drafter.length - len(prompt) :])
        return drafter
