"""Which place gets the next sample: suspects and samples share one budget."""

import heapq
from collections.abc import Iterator, Sequence

FIRST_ANSWER = 0.5
NEXT_ANSWER = 0.25
FADE = 0.85
"""Chance that the most probable answer is right when the place is, that the next one is, and how that fades with each
further answer."""

MOST_SAMPLES = 200
"""Of one place; beyond that a draw hardly ever brings anything new."""


def schedule(suspicion: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Pairs (place, sample), best first: by the product of the place's suspicion and the chance that one more sample
    there is the right one. Samples of a place come in order, from 0; every place gets `MOST_SAMPLES` in the end."""
    heap = [(-score * FIRST_ANSWER, place, 0) for place, score in enumerate(suspicion)]
    heapq.heapify(heap)
    while heap:
        _, place, sample = heapq.heappop(heap)
        yield place, sample
        if sample + 1 < MOST_SAMPLES:
            heapq.heappush(heap, (-suspicion[place] * NEXT_ANSWER * FADE**sample, place, sample + 1))
