"""What is there already becomes less likely: penalties on the tokens of a prompt and its answer, and biases.

A repetition penalty divides the logits of tokens that stand in the prompt or the answer, or multiplies those below zero
(CTRL, https://arxiv.org/abs/1909.05858). A presence penalty is taken off those that stand in the answer, a frequency
penalty once for each time that they do, as OpenAI's interface defines them; both as vLLM has it.
"""

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.protocol import Sampling

Floats = NDArray[np.float32]


class Penalties:
    """Those of one answer while it is generated."""

    def __init__(self, sampling: Sampling, prompt: Iterable[int]) -> None:
        self._sampling = sampling
        self._seen = array("i", sorted(set(prompt)) if sampling.repetition != 1 else ())
        """Tokens that the repetition penalty is for, each once."""
        self._known = frozenset(self._seen)
        self._said = array("i")
        self._counts = array("f")
        self._places: dict[int, int] = {}
        """Where a token stands in these two."""
        self._biased = array("i", [token for token, _ in sampling.bias])
        self._biases = array("f", [value for _, value in sampling.bias])

    def take(self, token: int) -> None:
        """The answer goes on by this token."""
        place = self._places.setdefault(token, len(self._said))
        if place < len(self._said):
            self._counts[place] += 1
            return
        self._said.append(token)
        self._counts.append(1)
        if self._sampling.repetition != 1 and token not in self._known:
            self._seen.append(token)

    def applied(self, row: Floats) -> Floats:
        """The logits, shape (vocabulary,), as the next token is to be drawn from."""
        rules, changed = self._sampling, row.copy()
        if self._seen:
            seen = np.frombuffer(self._seen, np.int32)
            logits = changed[seen]
            changed[seen] = np.where(logits > 0, logits / rules.repetition, logits * rules.repetition)
        if self._said and (rules.presence or rules.frequency):
            counts = np.frombuffer(self._counts, np.float32)
            changed[np.frombuffer(self._said, np.int32)] -= rules.presence + rules.frequency * counts
        if self._biased:
            np.add.at(changed, np.frombuffer(self._biased, np.int32), np.frombuffer(self._biases, np.float32))
        return changed
