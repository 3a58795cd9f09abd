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
PATIENCE = 8
"""Tokens that are drawn at most before anybody looks for guesses again, where there were none: two at first. What is
copied is seldom short. In 317 edits, what is missed costs less than looking each time."""
LATE = 16
"""Tokens that an answer may still have, for which nobody begins to read its prompt."""
FAR = 64
"""Tokens of each sequence that are drawn at most before anything else is done."""


class Guesses:
    """A drafter for each sequence that decodes, and what a guess costs."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._drafters: dict[int, Drafter] = {}
        self.patience = FAR
        """Tokens of each sequence that may be drawn before there may be a guess again."""

    def make(
        self, running: int, crowd: int, answers: Iterable[tuple[int, tuple[int, ...], Answer]]
    ) -> dict[int, list[int]]:
        """Guessed tokens by sequence. `answers`: each sequence with its prompt and its answer so far; `running`: how
        many of them decode; `crowd`: how many will soon."""
        self.patience, before = FAR, self.patience
        if not 0 < running <= crowd <= CROWD or not self._pace.known:
            return {}
        none, one = self._pace.seconds(running), self._pace.seconds(running * 2)
        if one >= (1 + DEAR) * none:
            return {}
        self.patience = min(2 * before, PATIENCE)
        found: dict[int, list[int]] = {}
        costs: dict[int, float] = {}
        for sequence, prompt, answer in answers:
            left = answer.request.sampling.max_tokens - len(answer.tokens)
            if answer.tokens and left > (1 if sequence in self._drafters else LATE):
                drafter = self._drafter(sequence, prompt, answer)
                if drafter.trust:
                    costs = costs or {count: self._pace.seconds(running * (1 + count)) for count in (0, *DEPTHS)}
                    if guess := drafter.guess(depth(drafter.trust, drafter.goes_on, costs)):
                        found[sequence] = guess
                        self.patience = 1
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
