"""Calls are held against their tools' schemas: what is certain is made to fit, and the rest is told in a sentence."""

import pytest

from swarmcode.dialect.fit import coerced, misfit
from swarmcode.dialect.messages import Call, Tool


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"path": 12}, {"path": "12"}),
        ({"start": "12"}, {"start": 12}),
        ({"start": 12.0}, {"start": 12}),
        ({"deep": "true"}, {"deep": True}),
        ({"start": "soon"}, {"start": "soon"}),
        ({"start": True}, {"start": True}),
        ({"other": "12"}, {"other": "12"}),
    ],
)
def test_what_is_certain_is_made_to_fit(
    given: dict[str, object], made: dict[str, object], tools: tuple[Tool, ...]
) -> None:
    """Numbers in strings and strings that are numbers; nothing else is guessed."""
    found = coerced(given, tools[0], spelled=False)
    assert found == made
    assert [type(value) for value in found.values()] == [type(value) for value in made.values()]


def test_spelled_values_without_a_schema_are_json_where_they_are_json(tools: tuple[Tool, ...]) -> None:
    """Dialects that spell each argument give nothing but strings."""
    given = {"list": "[1, 2]", "word": "hello", "object": '{"a": 1}', "path": "[1]"}
    assert coerced(given, tools[0], spelled=True) == {
        "list": [1, 2],
        "word": "hello",
        "object": {"a": 1},
        "path": "[1]",
    }


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("write", {}, "There is no tool 'write'; the tools are: read, edit."),
        ("read", {}, "read lacks path; it takes: path, start, deep."),
        ("read", {"path": "a", "line": 1}, "read has no argument 'line'"),
        ("read", {"path": "a", "start": "soon"}, 'start of read must be of type integer, and is "soon".'),
        ("read", {"path": "a", "start": True}, "start of read must be of type integer, and is true."),
        ("edit", {"old": "a", "new": "b", "how": "some"}, "how of edit must be one of all, one."),
        ("read", {"path": "a", "start": 1, "deep": False}, ""),
    ],
)
def test_a_misfit_is_told_in_a_sentence(
    name: str, arguments: dict[str, object], why: str, tools: tuple[Tool, ...]
) -> None:
    """What there is to choose from is in it."""
    said = misfit(Call(id="0", name=name, arguments=arguments), tools)
    assert said.startswith(why)
    assert bool(said) == bool(why)
