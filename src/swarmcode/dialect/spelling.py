"""Tokens -> text with the control tokens that a dialect's parser needs spelt out.

An engine leaves control tokens out of its texts, and models speak of tools in control tokens.
"""

from collections.abc import Callable, Sequence

from swarmcode.dialect.said import Dialect


class Speller:
    """For one engine and one dialect. `tokenize` is given the spelling of a control token, and gives tokens;
    `detokenize` gives the bytes of ordinary ones."""

    def __init__(
        self,
        dialect: Dialect,
        tokenize: Callable[[str], Sequence[int]],
        detokenize: Callable[[Sequence[int]], bytes],
    ) -> None:
        found = {marker: tuple(tokenize(marker)) for marker in dialect.markers}
        self._names = {tokens[0]: marker for marker, tokens in found.items() if len(tokens) == 1}
        self._detokenize = detokenize

    def spelt(self, tokens: Sequence[int]) -> str:
        """The text of an answer. Bytes that are no UTF-8 are replaced."""
        made, start = bytearray(), 0
        for place, token in enumerate(tokens):
            name = self._names.get(token)
            if name is not None:
                made += self._detokenize(tokens[start:place]) + name.encode()
                start = place + 1
        made += self._detokenize(tokens[start:])
        return made.decode("utf-8", errors="replace")
