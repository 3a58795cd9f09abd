"""What runs while a file is loaded, before any test does, and is as suspicious as the lines that use what it made.

Constants, default values, and functions that fill a table at the top level: no test is seen to run them. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from swarmcode.localise.symbols import Symbol, lines, outline, rows

_NAME: Final = re.compile(rb"[A-Za-z_]\w*")
_CALLED: Final = re.compile(rb"([A-Za-z_]\w*)\s*\(")
_CONSTANT: Final = re.compile(
    rb"\s*(?:(?:const|let|var|static|final|public|private|export|pub)\s+)*(\w+)\s*(?::[^=]+)?=(?!=)"
)


def before_tests(path: str, source: bytes, used: Mapping[bytes, float], ran: Mapping[int, float]) -> dict[int, float]:
    """Code lines -> suspicion, above 0 only, of what uses them. `used`: name -> highest suspicion of the lines that
    name it; `ran`: that of each line which tests run."""
    texts, facts = rows(source), lines(path, source)
    functions = [symbol for symbol in outline(path, source) if symbol.kind == "function"]
    starts = {symbol.start: symbol for symbol in functions}
    outside = facts.code - {line for symbol in functions for line in range(symbol.start, symbol.end + 1)}
    loaded = _loaded(source, used, functions, outside)
    found: dict[int, float] = {}
    for line in facts.code:
        statement = facts.statement.get(line, line)
        value = loaded.get(line, 0.0)
        if line in outside and (defined := _CONSTANT.match(texts[statement - 1])):
            value = used.get(defined[1], 0.0)
        elif (symbol := starts.get(statement)) and b"=" in texts[line - 1]:  # it may give default values
            value = max([value, *(ran[row] for row in range(symbol.start, symbol.end + 1) if row in ran)])
        if value:
            found[line] = value
    return found


def _loaded(
    source: bytes, used: Mapping[bytes, float], functions: Iterable[Symbol], outside: Iterable[int]
) -> dict[int, float]:
    """Lines of functions that are called at the top level: as suspicious as the constants that they name."""
    texts = rows(source)
    top = [texts[line - 1] for line in outside]
    called = {name for text in top for name in _CALLED.findall(text)}
    constants = {defined[1] for text in top if (defined := _CONSTANT.match(text))}
    found: dict[int, float] = {}
    for symbol in functions:
        if symbol.name.encode() in called:
            within = range(symbol.start, symbol.end + 1)
            named = {name for line in within for name in _NAME.findall(texts[line - 1])} & constants
            found |= dict.fromkeys(within, max((used.get(name, 0.0) for name in named), default=0.0))
    return found
