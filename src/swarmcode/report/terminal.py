"""Text that others wrote (models, tests, issues), made fit to be shown on a terminal.

Covered: escape sequences of every kind (colours, titles, links, clipboard), control characters, and the characters that
reorder or hide what stands beside them. Not covered: letters that merely look like others.
"""

import re

_SEQUENCES = re.compile(
    r"""
      (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]                     # CSI: colours, cursor, erase
    | (?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])                 # OSC, DCS, SOS, PM, APC: title, link, clipboard
      [^\x07\x1b\x9c]* (?:\x07|\x1b\\|\x9c)
    | \x1b [ -/]* [0-Z\\^-~]                                  # all others
    """,
    re.VERBOSE,
)
_BREAKS = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_HIDDEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text with nothing in it that a terminal obeys, save line breaks and tabs. Idempotent."""
    return _HIDDEN.sub("", _BREAKS.sub("\n", _SEQUENCES.sub("", text)))


def one_line(text: str, longest: int = 200) -> str:
    """The same on one line, with white space run together, and cut with an ellipsis."""
    line = " ".join(clean(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def counted(number: int, noun: str) -> str:
    """`1 test`, `2 tests`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
