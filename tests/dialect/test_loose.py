"""JSON as models write it is read where its meaning is certain, and nothing is ever evaluated."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.dialect.loose import json_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_as_json(value: dict[str, object], indent: int | None, escaped: bool) -> None:
    """Whatever is right stays what it is, within a fence too."""
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    assert json_object(text) == value
    assert json_object(f"```json\n{text}\n```") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ('{"a": [1, 2,], "b": {"c": true,},}', {"a": [1, 2], "b": {"c": True}}),
        ("{'a': 'it\\'s', 'b': None, 'c': True}", {"a": "it's", "b": None, "c": True}),
        ('{"a": "two\nlines", "b": "tab\there"}', {"a": "two\nlines", "b": "tab\there"}),
        (r'{"pattern": "\d+\.py"}', {"pattern": r"\d+\.py"}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": 1}}', {"a": 1}),
        ('{"a": "\\ud800"}', {"a": "�"}),
        ('{"a": -1.5e3, "b": 0}', {"a": -1500.0, "b": 0}),
    ],
)
def test_what_is_meant_is_taken(text: str, value: object) -> None:
    """Commas too many, other quotes, raw line ends, unknown escapes, objects in strings, closers too many."""
    assert json_object(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{",
            '{"a"',
            '{"a": }',
            "[1]",
            "3",
            '"a"',
            "{a: 1}",
            '{"a": 1} b',
            '{"a" 1}',
            '{"a": 1e999}',
            '{"a": exit()}',
        ),
        *(
            '{"a": exit()}',
            '{"a": ' + "[" * 5000,
            '{"a": ' + "[" * 500 + "]" * 500 + "}",
            "{" * 5000,
            '{"a": ' + "9" * 5000 + "}",
        ),
    ],
)
def test_what_is_not_certain_is_refused_in_a_phrase(text: str) -> None:
    """With what was wrong, and no end of its own."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        json_object(text)
    assert "\n" not in str(caught.value)
