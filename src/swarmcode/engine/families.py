"""What is known of families of models that no file tells: how their publishers sample them, with thoughts and without.

All else is told by a model's own template (`dialect.choose`). A family is known by what a model calls itself, or by the
form of its tool calls where that is its alone. Sources: the model cards of Kimi K2.5 and K2.6, Qwen3-Coder, Qwen3,
gpt-oss and DeepSeek V3, R1 and V3.1.
"""

import re
from dataclasses import dataclass, replace

from swarmcode.engine.protocol import Sampling

ANSWER = 2048
"""Tokens of an answer without thoughts."""
THOUGHT = 8192
"""Tokens of an answer with thoughts, at most; a quarter of the context where that is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are spoken with alike."""

    name: str
    called: re.Pattern[str]
    """Found in what they call themselves."""
    dialect: str = ""
    """A form of tool calls that no other family has."""
    instant: Sampling
    """For answers without thoughts."""
    thinking: Sampling | None = None
    """With thoughts; None: as without."""

    def reasoning(self, context: int) -> Sampling:
        """For answers with thoughts."""
        return replace(self.thinking or self.instant, max_tokens=max(1, min(THOUGHT, context // 4)))


FAMILIES = (
    Family(
        name="Kimi K2",
        called=re.compile(r"kimi", re.I),
        dialect="kimi",
        instant=Sampling(temperature=0.6, top_p=0.95, min_p=0.01, max_tokens=ANSWER),
        thinking=Sampling(temperature=1.0, top_p=0.95, min_p=0.01),
    ),
    Family(
        name="gpt-oss",
        called=re.compile(r"gpt-?oss", re.I),
        dialect="harmony",
        instant=Sampling(temperature=1.0, max_tokens=ANSWER),
    ),
    Family(
        name="DeepSeek V3",
        called=re.compile(r"deepseek", re.I),
        dialect="deepseek",
        instant=Sampling(temperature=0.3, top_p=0.95, max_tokens=ANSWER),
        thinking=Sampling(temperature=0.6, top_p=0.95),
    ),
    Family(
        name="Qwen3-Coder",
        called=re.compile(r"qwen.*coder", re.I),
        dialect="coder",
        instant=Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition=1.05, max_tokens=ANSWER),
    ),
    Family(
        name="Qwen",
        called=re.compile(r"qwen", re.I),
        instant=Sampling(temperature=0.7, top_p=0.8, top_k=20, max_tokens=ANSWER),
        thinking=Sampling(temperature=0.6, top_p=0.95, top_k=20),
    ),
)
"""The first that fits."""
OTHERS = Family(
    name="",
    called=re.compile(""),
    instant=Sampling(temperature=0.7, top_p=0.95, min_p=0.01, max_tokens=ANSWER),
)


def family(called: str, dialect: str = "") -> Family:
    """The family of a model that calls itself so, else the one whose tool calls it makes."""
    named = (each for each in FAMILIES if each.called.search(called))
    alike = (each for each in FAMILIES if dialect and each.dialect == dialect)
    return next(named, None) or next(alike, OTHERS)
