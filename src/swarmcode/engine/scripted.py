"""An engine that answers from a script: what tests, demonstrations and replays put in a model's place.

It keeps the contract of `protocol.Engine` as far as a script can: prompts and answers are counted, masks are obeyed,
stops cut, what does not fit is refused. Where the script and the contract disagree the script is wrong, and it says so.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

from swarmcode.engine.protocol import Completion, Finish, Load, News, Profile, Request, Segment
from swarmcode.errors import EngineLost, UsageError
from swarmcode.flow import Usage

Line = str | tuple[int, ...] | Completion
"""An answer: its text, its tokens, or all of it."""
Script = Callable[[Request, int], Line | Exception] | Iterable[Line | Exception]
"""A function of the request and the seed, or answers in the order in which they are asked for, each seed asking for
one. An exception is raised instead of an answer."""

CONTROL = ("<|pad|>", "<|end|>", "<|bug|>", "<|fix|>", "<|begin|>", "<|rest|>")
"""The control tokens, from id 256 on; ids below are bytes."""
VOCABULARY = 256 + len(CONTROL) + 64
"""Bytes, control tokens, and the pointers of span edits."""

CHAT = Profile(
    name="scripted",
    protocols=("blocks",),
    context=32_768,
    vocabulary=VOCABULARY,
    chat_template="{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}",
    plans=True,
)
"""A model that chats and plans."""
SPAN = Profile(name="scripted", protocols=("span",), context=4096, vocabulary=VOCABULARY)
"""A model that edits spans."""


class ScriptError(AssertionError):
    """The script has run out, or has an answer that no model could have given."""


class ScriptedEngine:
    """Answers every request at once, from `script`. Tokens are bytes."""

    def __init__(self, script: Script, profile: Profile = CHAT, logprob: float = -0.1) -> None:
        self._script = script if callable(script) else _in_order(iter(script))
        self._profile = profile
        self._logprob = logprob
        self._closed = False
        self._usage = Usage()
        self.requests: list[Request] = []
        """What was asked, in order."""

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def load(self) -> Load:
        return Load(usage=self._usage)

    @property
    def alive(self) -> bool:
        """As in `StreamingEngine`."""
        return not self._closed

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """As in `Engine`. Raises `ScriptError` where the script has no answer, or one that cannot be."""
        return self._answers(request)

    def stream(self, request: Request) -> "Recital":
        """As in `StreamingEngine`: a token of each answer at a time."""
        return Recital(self._answers(request), lambda token: self._spelt(request, (token,)))

    def prompt(self, segments: Sequence[Segment]) -> tuple[int, ...]:
        """As in `StreamingEngine`."""
        pieces = (self.tokenize(each.text, special=each.special) if each.text else each.tokens for each in segments)
        return tuple(token for piece in pieces for token in piece)

    def _answers(self, request: Request) -> tuple[Completion, ...]:
        if self._closed:
            raise EngineLost("the engine was closed", "run it again")
        prompt = len(self.prompt(request.prompt))
        wanted = request.sampling.max_tokens
        if prompt + wanted > self._profile.context:
            raise UsageError(
                f"a prompt of {prompt} tokens and an answer of {wanted} do not fit the context of "
                f"{self._profile.context}",
                "shorten the prompt, or ask for fewer tokens",
            )
        self.requests.append(request)
        completions = tuple(self._answer(request, seed, prompt) for seed in request.seeds)
        self._usage = sum((each.usage for each in completions), self._usage)
        return completions

    def tokenize(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """As in `Engine`: one token a byte, and one for the spelling of a control token where `special` is set."""
        if not special:
            return tuple(text.encode())
        for index, name in enumerate(CONTROL):
            before, found, after = text.partition(name)
            if found:
                return (
                    *self.tokenize(before, special=True),
                    256 + index,
                    *self.tokenize(after, special=True),
                )
        return tuple(text.encode())

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """As in `Engine`."""
        return bytes(token for token in tokens if token < 256)

    async def close(self) -> None:
        """As in `Engine`."""
        self._closed = True

    def _spelt(self, request: Request, tokens: Sequence[int]) -> bytes:
        return b"".join(request.names.get(token, "").encode() or self.detokenize((token,)) for token in tokens)

    def _answer(self, request: Request, seed: int, prompt: int) -> Completion:
        line = self._script(request, seed)
        if isinstance(line, Exception):
            raise line
        if isinstance(line, Completion):
            _obey(request, line.tokens)
            return line
        tokens = self.tokenize(line) if isinstance(line, str) else line
        kept, finish = _until_stop(request, tokens)
        _obey(request, kept)
        text = self._spelt(request, kept).decode("utf-8", errors="replace")
        for stop in request.stop:
            text, found, _ = text.partition(stop)
            finish = "stop" if found else finish
        ended = finish == "stop"
        return Completion(
            text=text,
            tokens=kept,
            logprobs=(self._logprob,) * (len(kept) + ended),
            finish=finish,
            usage=Usage(prefilled=prompt, decoded=len(kept) + ended),
        )


class Recital:
    """Answers as if they were being generated. Implements `protocol.Stream`."""

    def __init__(self, completions: Sequence[Completion], spell: Callable[[int], bytes]) -> None:
        parts = [_recited(index, completion, spell) for index, completion in enumerate(completions)]
        self._news = (tuple(filter(None, step)) for step in zip_longest(*parts))
        self.closed = False

    def __aiter__(self) -> "Recital":
        return self

    async def __anext__(self) -> tuple[News, ...]:
        for step in self._news:
            return step
        raise StopAsyncIteration

    def close(self) -> None:
        self.closed = True


def _recited(index: int, completion: Completion, spell: Callable[[int], bytes]) -> Iterator[News]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    left = completion.text
    for token, logprob in zip(completion.tokens, completion.logprobs, strict=False):
        text = decoder.decode(spell(token))[: len(left)]
        left = left[len(text) :]
        yield News(index=index, text=text, tokens=(token,), logprobs=(logprob,))
    yield News(index=index, text=left, completion=completion)


def _in_order(lines: Iterator[Line | Exception]) -> Callable[[Request, int], Line | Exception]:
    def following(request: Request, seed: int) -> Line | Exception:
        try:
            return next(lines)
        except StopIteration as error:
            raise ScriptError("the script has run out of answers") from error

    return following


def _until_stop(request: Request, tokens: tuple[int, ...]) -> tuple[tuple[int, ...], Finish]:
    """The tokens before the first stop token, at most as many as were asked for."""
    for index, token in enumerate(tokens[: request.sampling.max_tokens]):
        if token in request.stop_tokens:
            return tokens[:index], "stop"
    if len(tokens) > request.sampling.max_tokens:
        return tokens[: request.sampling.max_tokens], "length"
    return tokens, "stop"


def _obey(request: Request, tokens: tuple[int, ...]) -> None:
    if request.constraint is None:
        return
    for index, token in enumerate(tokens):
        mask = request.constraint.allowed(tokens[:index])
        if mask is not None and not mask[token]:
            raise ScriptError(f"token {index} of the scripted answer is {token}, which the constraint forbids")
