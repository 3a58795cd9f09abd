"""Whether an answer goes in circles: it says the same again and again, and nothing else will come of it. Pure.

Quantized models do that, and long thoughts do. What is looked for is exact: a piece that ends the answer three or four
times in a row. Code repeats itself, too, so short pieces must stand there for long.
"""

from collections.abc import Sequence

SHORT, LONG = 64, 256
"""Tokens of a piece, at most: a short one is to stand there four times, a long one three times."""
LEAST = 128
"""Tokens that all of it has, at least."""


def in_circles(tokens: Sequence[int]) -> bool:
    """Whether the end of an answer is one piece, again and again."""
    if len(tokens) < LEAST:
        return False
    last = tokens[-1]
    for size in range(1, min(LONG, len(tokens) // 3) + 1):
        if tokens[-1 - size] != last:
            continue
        length = max(LEAST, size * (4 if size <= SHORT else 3))
        if length <= len(tokens) and tokens[-length:-size] == tokens[size - length :]:
            return True
    return False
