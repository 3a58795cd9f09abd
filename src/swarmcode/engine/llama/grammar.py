"""Grammars that keep an answer within a JSON schema, by llguidance (https://github.com/guidance-ai/llguidance).

It knows which tokens may follow in some twenty microseconds, some sixty where the vocabulary has 160,000 tokens.
llama.cpp's own grammars judge every token of the vocabulary by itself, in half a millisecond for 4,096 of them: a
hundred answers within schemas would wait longer for those than for the model.
"""

import json
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from swarmcode.errors import ModelError

_SPACE = r"[ ]?|\n{1,2}[ \t]{0,20}"
"""Between the parts of a value: none without end, of which small models make much."""
_OPEN = frozenset({"additionalProperties", "unevaluatedProperties", "patternProperties", "allOf"})
"""What speaks of properties beside those that are named."""
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""What has schemas by names, which may be any."""
_VALUES = frozenset({"enum", "const", "default", "examples"})


class Grammars:
    """Makes grammars for a model with this vocabulary, from any thread."""

    def __init__(
        self,
        vocabulary: int,
        ends: Collection[int],
        piece: Callable[[int], bytes],
        tokenize: Callable[[str], Sequence[int]],
    ) -> None:
        """`ends`: tokens that end an answer; `piece`: what a token spells."""
        self._vocabulary = vocabulary
        self._ends = sorted(ends)
        self._piece = piece
        self._tokenize = tokenize
        self._tokenizer: LLTokenizer | None = None
        self._lock = threading.Lock()

    def of(self, schema: str) -> "SchemaGrammar":
        """For one answer. Raises `ModelError`."""
        try:
            known = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise _refused(error) from error
        try:
            return self._grammar(_closed(known))
        except ValueError:  # what is closed may contradict itself, where objects are combined
            pass
        try:
            return self._grammar(known)
        except ValueError as error:
            raise _refused(error) from error

    def _grammar(self, schema: Any) -> "SchemaGrammar":
        """Raises `ValueError`."""
        with self._lock:
            self._tokenizer = self._tokenizer or self._made()
        rules = LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_pattern": _SPACE, "coerce_one_of": True}
        )
        matcher = LLMatcher(self._tokenizer, rules, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return SchemaGrammar(matcher, self._vocabulary)

    def _made(self) -> LLTokenizer:
        # A model without end tokens has one more, which it never says.
        tokens = [*map(self._piece, range(self._vocabulary)), *([] if self._ends else [b""])]
        return LLTokenizer(
            TokenizerWrapper(_Spelling(tokens, self._ends or [self._vocabulary], self._tokenize)),
            eos_token=self._ends or [self._vocabulary],
            slices=LLTokenizer.json_slices(),
        )


def _closed(schema: Any) -> Any:
    """The schema with objects where it names properties, and with no other properties, unless it speaks of others: a
    model that invents some helps nobody."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in _VALUES else _closed(value) for key, value in schema.items()}
    for key in _BY_NAME & schema.keys():
        if isinstance(schema[key], dict):
            closed[key] = {name: _closed(each) for name, each in schema[key].items()}
    if isinstance(schema.get("properties"), dict) and not schema.keys() & _OPEN:
        closed = {"type": "object", **closed, "additionalProperties": False}
    return closed


def _refused(error: Exception) -> ModelError:
    line = " ".join(str(error).split())
    return ModelError(f"the schema cannot be turned into a grammar: {line[:300]}", "simplify the schema")


class _Spelling:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], ends: Sequence[int], tokenize: Callable[[str], Sequence[int]]) -> None:
        self.tokens = tokens
        self.eos_token_id = ends[0]
        self.special_token_ids = list(ends)
        self._tokenize = tokenize

    def __call__(self, text: str | bytes) -> list[int]:
        return list(self._tokenize(text if isinstance(text, str) else text.decode("utf-8", errors="replace")))


class SchemaGrammar:
    """Which tokens keep a text within a JSON schema. Implements `Constraint`, for one answer."""

    def __init__(self, matcher: LLMatcher, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._followed = 0

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        """As in `Constraint`, but `generated` must go on from what the last call was given."""
        self._matcher.consume_tokens(list(generated[self._followed :]))
        self._followed = len(generated)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise ValueError(self._matcher.get_error())
        mask: NDArray[np.bool_] = np.unpackbits(bits, count=self._vocabulary, bitorder="little").view(np.bool_)
        return mask
