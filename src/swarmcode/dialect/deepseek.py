"""DeepSeek V3, R1 and V3.1: calls between tokens of their own, in two orders.

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME
    ```json
    {...}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>

is that of V3 and R1; V3.1 says `NAME<｜tool▁sep｜>{...}` with neither the word nor the fence. Source: the models' cards
and chat templates. Builds that spell the tokens with `|` and `_` are read as well.
"""

import re

from swarmcode.dialect.said import Dialect, RawCall, Said

_MARK = re.compile(r"<[｜|]tool[▁_ ](?:(?P<kind>calls?[▁_ ](?:begin|end)|sep)|outputs?[▁_ ](?:begin|end))[｜|]>")
_NAME = re.compile(r"\s*(?P<name>[A-Za-z_][\w.-]{0,99})\s*(?P<rest>.*)\Z", re.DOTALL)


def _read(text: str, said: Said) -> None:
    marks = list(_MARK.finditer(text))
    said.content.append(text[: marks[0].start()] if marks else text)
    left = ""  # of the separator, inside a call
    for number, mark in enumerate(marks):
        kind = (mark["kind"] or "").replace("▁", "_").replace(" ", "_")
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        body = text[mark.end() : end]
        if kind == "call_begin":
            following = marks[number + 1]["kind"] if number + 1 < len(marks) else ""
            left = body
            if following != "sep":
                _take("", body, said)
        elif kind == "sep":
            _take(left, body, said)
            left = ""
        else:
            said.content.append(body)
    if marks and not said.calls and not said.faults:
        said.faults.append("A section of tool calls was begun, but there is no call in it.")


def _take(left: str, right: str, said: Said) -> None:
    """A call with what stands on each side of its separator: the name is left of it, or else begins the right side."""
    if left.strip() not in ("", "function"):
        name, arguments = left.strip(), right
    else:
        known = _NAME.match(right)
        if known is None:
            said.faults.append("A tool call has no name; its form is NAME<｜tool▁sep｜>{JSON object}.")
            return
        name, arguments = known["name"], known["rest"]
    said.calls.append(RawCall(name, arguments))


DEEPSEEK = Dialect(
    name="deepseek",
    telltales=("tool▁calls▁begin",),
    markers=(
        *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"),
        *("<｜tool▁sep｜>", "<think>", "</think>"),
    ),
    ends=("<｜end▁of▁sentence｜>",),
    read=_read,
    opening=_MARK,
    sure=True,
    call_id=lambda name, index: f"call_{index}",
    example=(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
)
