"""llama.cpp's grammars, which keep an answer within a JSON schema."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.llama.library import LOG, json_schema_to_gbnf, lib
from swarmcode.errors import ModelError


class LlamaGrammar:
    """Which tokens keep a text within a JSON schema. Implements `worker.Grammar`.

    llama.cpp's grammar sampler judges the whole vocabulary for each token of the answer: some milliseconds where the
    vocabulary is large, for the answers that ask for it alone.
    """

    def __init__(self, vocab: Any, vocabulary: int, schema: str) -> None:
        try:
            rules = json_schema_to_gbnf(schema)
        except (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError) as error:
            raise ModelError(f"the schema cannot be turned into a grammar: {error}", "simplify the schema") from error
        LOG.complaints.clear()
        self._sampler = lib.llama_sampler_init_grammar(vocab, rules.encode(), b"root")
        if not self._sampler:
            raise ModelError(f"the schema makes no valid grammar: {LOG.complaint()}", "simplify the schema")
        self._followed = 0
        self._data = np.zeros(vocabulary, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self._data["id"] = np.arange(vocabulary)
        pointer = self._data.ctypes.data_as(lib.llama_token_data_p)
        self._array = lib.llama_token_data_array(pointer, vocabulary, -1, False)

    def allowed(self, generated: Sequence[int]) -> NDArray[np.bool_]:
        """As in `Constraint`, but `generated` must go on from what the last call was given."""
        for token in generated[self._followed :]:
            lib.llama_sampler_accept(self._sampler, token)
        self._followed = len(generated)
        self._data["logit"] = 0.0
        lib.llama_sampler_apply(self._sampler, ctypes.byref(self._array))
        mask: NDArray[np.bool_] = self._data["logit"] > -np.inf
        return mask

    def close(self) -> None:
        if self._sampler:
            lib.llama_sampler_free(self._sampler)
            self._sampler = None
