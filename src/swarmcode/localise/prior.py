"""How likely a line of its kind holds a fault, before anything is known of it. Pure.

After the collections of one-line faults (ManySStuBs4J, Karampatsis and Sutton, 2020; BugsInPy, Widyasari et al., 2020):
most sit in conditions, operators, numbers, arguments and subscripts; few in definitions, imports, logging and plain
jumps. By text alone, so it holds for any language.
"""

import re
from functools import lru_cache
from typing import Final

_LITERAL: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_COMMENT: Final = re.compile(r"(^|\s)(#|//).*$")
_LOOP: Final = re.compile(r"\bfor\b[^;]*?\b(in|of)\b")
_HEAD: Final = re.compile(
    r"\s*(@|import\b|from\b.*\bimport\b|using\b|#include\b|package\b|use\b|require\b|export\s*\{|"
    r"(public|private|protected|static|async|export|abstract|final|\s)*(def|class|function|fn|func|interface|struct|enum|trait|impl|module|namespace)\b)"
)
_JUMP: Final = re.compile(r"\s*(pass|break|continue|global\b.*|nonlocal\b.*|end|return;?|try:?|else:?|finally:?)\s*$")
_TALK: Final = re.compile(
    r"\s*(raise\b|throw\b|assert\b|print\w*\(|log(ger|ging)?\.|console\.|warnings?\.|fmt\.Print|panic)"
)
_CONDITION: Final = re.compile(r"\b(if|elif|while|unless|until|when|case|for|assert)\b|\?")
_COMPARISON: Final = re.compile(r"[<>=!]=|(?<![-=<>])[<>](?![<>=])|\b(and|or|not|in|is)\b|&&|\|\||!\w")
_ARITHMETIC: Final = re.compile(r"(?<![-+*/%\w(,=])\s*[-+*/%]=?\s*\w|\w\s*(\*\*|//|<<|>>|[-+*/%&|^])=?\s*[\w(]")
_NUMBER: Final = re.compile(r"(?<![\w.])\d")
_SUBSCRIPT: Final = re.compile(r"\w\[")
_CALL: Final = re.compile(r"\w\(")
_ARGUMENTS: Final = re.compile(r"\w\([^()]*,")

_BASE: Final = 0.2
_FEATURES: Final = (
    (_COMPARISON, 0.3),
    (_CONDITION, 0.15),
    (_ARITHMETIC, 0.25),
    (_NUMBER, 0.15),
    (_SUBSCRIPT, 0.1),
    (_CALL, 0.05),
    (_ARGUMENTS, 0.1),
)


@lru_cache(maxsize=50_000)
def prior(line: str) -> float:
    """0..1; comparable between lines of one language."""
    text = _LOOP.sub("for", _COMMENT.sub("", _LITERAL.sub('""', line[:400])))
    if _JUMP.match(text):
        return 0.05
    if _HEAD.match(text):
        # A default value may be wrong; a name seldom is.
        return 0.15 if "=" in text else 0.05
    score = _BASE + sum(weight for pattern, weight in _FEATURES if pattern.search(text))
    return min(score, 1.0) * (0.4 if _TALK.match(text) else 1.0)
