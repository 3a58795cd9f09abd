"""Has the model say just what was foreseen: it computes and draws as ever, and what it draws is decided.

Answers are told apart by the keys that their tokens are drawn by, which depend on seeds only above temperature 0.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from swarmcode.engine.llama.library import lib
from swarmcode.engine.llama.stride import Stride, Strider
from swarmcode.engine.sampling import WORD, Draw, Drawn, Floats, Pick, key

_CERTAIN = 1e9
"""A logit beside which no other counts."""


class Dictation:
    """Answers by seed, as tokens."""

    def __init__(self, answers: Mapping[int, Sequence[int]]) -> None:
        self._tokens = {key(seed, place): token for seed, said in answers.items() for place, token in enumerate(said)}
        self._stride = Stride()
        self._kept: list[Any] = []

    def drawer(self, draw: Draw) -> Draw:
        """Draws, and is told what it has drawn."""

        def dictated(rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
            found = draw(rows, picks)
            for pick, drawn in zip(picks, found, strict=True):
                drawn.token = self._tokens.get(pick.key, drawn.token)
            return found

        return dictated

    def lead(self, strider: Strider, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """The same in strides: logits are changed before they are drawn from, by a function that is `wrapped`."""
        native, model = strider.native, strider.model

        def stride(of: Any, how: Any) -> Any:
            self._stride = how._obj
            return native(of, how)

        @wrapped
        def logits(context: int) -> int:
            found = ctypes.addressof(lib.llama_get_logits(ctypes.c_void_p(context)).contents)
            row = ctypes.c_float * model.vocabulary
            for place, word in enumerate(self._keys(model.batch)):
                if (token := self._tokens.get(word)) is not None:
                    row.from_address(found + place * ctypes.sizeof(row))[token] = _CERTAIN
            return found

        called = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(logits)
        self._kept.append(called)
        model.logits = ctypes.cast(called, ctypes.c_void_p)
        strider.native = stride

    def _keys(self, batch: Any) -> Iterator[int]:
        """Of the tokens that are drawn from the rows of a batch: guesses lie behind what they follow."""
        words = (ctypes.c_uint64 * self._stride.count).from_address(self._stride.keys)
        own, first, last = iter(words), 0, None
        word = 0
        for row in range(batch.n_tokens):
            seat = batch.seq_id[row][0]
            if seat != last:
                word, first, last = next(own), row, seat
            yield (word + row - first) & WORD
