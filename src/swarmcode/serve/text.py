"""How `/v1/completions` is answered: text that goes on from a prompt."""

from collections.abc import Sequence
from typing import Any

from swarmcode.engine.protocol import Completion, Likeliest, News
from swarmcode.serve.reply import Envelope, Spell

KIND = "text_completion"


class TextVoice:
    """Implements `reply.Voice`."""

    def __init__(self, envelope: Envelope, spell: Spell, *, logprobs: bool) -> None:
        self._envelope = envelope
        self._spell = spell
        self._logprobs = logprobs
        self._offsets: dict[int, int] = {}
        """Characters that were told of the tokens of each answer."""

    def whole(self, completions: Sequence[Completion]) -> bytes:
        choices = [
            self._choice(index, each.text, each.tokens, each.logprobs, each.tops, each.finish)
            for index, each in enumerate(completions)
        ]
        return self._envelope.wrap(KIND, choices, completions)

    def opening(self) -> list[bytes]:
        return []

    def pieces(self, news: News) -> list[bytes]:
        finish = news.completion.finish if news.completion else None
        choice = self._choice(news.index, news.text, news.tokens, news.logprobs, news.tops, finish)
        return [self._envelope.wrap(KIND, [choice])]

    def closing(self, completions: Sequence[Completion]) -> list[bytes]:
        return self._envelope.closing(KIND, completions)

    def _choice(
        self,
        index: int,
        text: str,
        tokens: Sequence[int],
        logprobs: Sequence[float],
        tops: Sequence[Likeliest],
        finish: str | None,
    ) -> dict[str, Any]:
        told = self._columns(index, tokens, logprobs, tops) if self._logprobs else None
        return {"index": index, "text": text, "logprobs": told, "finish_reason": finish}

    def _columns(
        self, index: int, tokens: Sequence[int], logprobs: Sequence[float], tops: Sequence[Likeliest]
    ) -> dict[str, Any]:
        names = [self._name(token) for token in tokens]
        offsets: list[int] = []
        at = self._offsets.get(index, 0)
        for name in names:
            offsets.append(at)
            at += len(name)
        self._offsets[index] = at
        # Two tokens may look alike, as halves of characters do: the likelier one is told.
        alternatives = [{self._name(token): value for token, value in reversed(top)} for top in tops[: len(tokens)]]
        return {
            "tokens": names,
            "token_logprobs": list(logprobs[: len(tokens)]),
            "top_logprobs": alternatives or None,
            "text_offset": offsets,
        }

    def _name(self, token: int) -> str:
        return self._spell((token,)).decode("utf-8", errors="replace")
