"""Whether a line of Python can stand where another one stood, by itself and without the file around it.

A small model breaks syntax in every second answer. To see that here costs some microseconds; to see it in the whole
file costs milliseconds, and an attempt. Lines that are only a piece of a statement are not judged.
"""

import ast
import warnings
from functools import lru_cache
from itertools import takewhile

_FRAMES = (
    "async def f():\n while 1:\n  {}",
    "async def f():\n while 1:\n  {}\n   pass",
    "async def f():\n while 1:\n  if 1: pass\n  {}\n   pass",
    "async def f():\n while 1:\n  try: pass\n  {}\n   pass",
    "async def f():\n while 1:\n  try: pass\n  except: pass\n  {}\n   pass",
    "match 1:\n  {}\n   pass",
    "{}\ndef f(): pass",
)
"""Where a line may stand: as a statement, as the head of a block, behind `if`, behind `try`, behind `except`, in a
`match`, before a function."""

_NAME = "<one line>"
# What Python would say of odd code (`1if x`) is said to whoever wrote it, not to whoever runs this.
warnings.filterwarnings("ignore", category=SyntaxWarning, module=_NAME)


def can_follow(old: str, new: str) -> bool:
    """Whether `new`, which may be several lines or none, can take the place of the line `old`. True where that cannot
    be told."""
    frame = _frame(old.strip())
    lines = [line for line in new.split("\n") if line.strip()]
    if frame is None or not lines:
        return True
    if len(lines) > 1 or _indent(new) != _indent(old):
        return True  # more than one statement: for the whole file to tell
    return _parses(frame, new.strip())


@lru_cache(maxsize=4096)
def _frame(line: str) -> str | None:
    """Where the line can stand; None for a piece of a statement."""
    return next((frame for frame in _FRAMES if _parses(frame, line)), None)


def _parses(frame: str, line: str) -> bool:
    try:
        ast.parse(frame.replace("{}", line), filename=_NAME)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _indent(line: str) -> str:
    return "".join(takewhile(str.isspace, line))
