"""What a model said, as its dialect means it: control tokens spelt out, thoughts apart.

An engine's text leaves control tokens out, and such are the ends of many models' thoughts and the channels of gpt-oss.
"""

from collections.abc import Mapping, Sequence

from swarmcode.dialect.prompt import Speech
from swarmcode.dialect.reading import said
from swarmcode.dialect.spelling import Speller
from swarmcode.engine.protocol import Completion, Engine, Finish, Segment

CUT: Mapping[Finish, str] = {"length": "the answer was cut at its limit", "circles": "the answer went in circles"}
"""What is said of an answer that did not come to its end."""


def text(engine: Engine, speech: Speech, completion: Completion) -> str:
    """All of an answer; as an endpoint gave it, where it keeps its tokens to itself."""
    if not completion.tokens:
        return completion.text
    speller = Speller(speech.dialect, lambda marker: engine.tokenize(marker, special=True), engine.detokenize)
    return speller.spelt(completion.tokens)


def answer(engine: Engine, speech: Speech, completion: Completion, prompt: Sequence[Segment]) -> str:
    """The answer without the thoughts before it."""
    return said(speech.dialect, text(engine, speech, completion), thinking=open_thought(prompt))


def open_thought(prompt: Sequence[Segment]) -> bool:
    """Whether a prompt leaves it to the model to close a thought."""
    return prompt[-1].special and prompt[-1].text.rstrip().endswith("<think>")
