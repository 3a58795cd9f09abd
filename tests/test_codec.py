"""JSON and back, for everything that a journal may hold."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmcode import codec, flow
from swarmcode.events import Event
from swarmcode.journal import KINDS

NUMBERS = st.floats(allow_nan=False)
st.register_type_strategy(float, NUMBERS)  # nan is equal to nothing, not to itself either
st.register_type_strategy(Path, st.text(st.characters(exclude_characters="\0")).map(Path))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_event_survives(kind: type[Event], data: st.DataObject) -> None:
    """Through JSON text and back, an event of any kind is equal to what it was, types included."""
    event = data.draw(st.from_type(kind))
    text = json.dumps(codec.encode(event), allow_nan=False)
    assert codec.decode(kind, json.loads(text)) == event


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), -12.5, 3])
def test_scores_survive(score: float) -> None:
    """A score of minus infinity, the default, has no form in JSON of its own and survives all the same."""
    attempt = flow.Attempt(id="1.1", subtask="1", seed=0, ending="submitted", score=score)
    assert codec.decode(flow.Attempt, json.loads(json.dumps(codec.encode(attempt), allow_nan=False))) == attempt


def test_odd_characters_survive() -> None:
    """File names that are no UTF-8 reach Python as lone surrogates; they come back as they were."""
    frame = flow.Frame(path="caf\udce9.py", line=1, function="\x1b[31m\0")
    assert codec.decode(flow.Frame, json.loads(json.dumps(codec.encode(frame)))) == frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Older:
    """A value as an older version knew it."""

    name: str
    dropped: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """The same, a field later and a field fewer."""

    name: str
    added: tuple[int, ...] = (1, 2)


def test_older_lines_can_be_read() -> None:
    """A field that is new takes its default; one that is gone is passed over."""
    assert codec.decode(Newer, codec.encode(Older(name="x"))) == Newer(name="x")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"path": "a.py", "line": "1", "function": "f"},
        {"path": "a.py", "line": True, "function": "f"},
        {"path": None, "line": 1, "function": "f"},
    ],
)
def test_what_stands_for_no_value_is_refused(data: object) -> None:
    """Damage is an error, not a value that looks right."""
    with pytest.raises(ValueError, match=r"expected|lacks"):
        codec.decode(flow.Frame, data)


@pytest.mark.parametrize("field", [{"ending": "vanished"}, {"score": "many"}, {"usage": 3}, {"seed": 1.5}])
def test_wrong_fields_are_refused(field: dict[str, object]) -> None:
    """Literals, numbers and nested values are checked too."""
    good = codec.encode(flow.Attempt(id="1.1", subtask="1", seed=0, ending="submitted"))
    with pytest.raises(ValueError, match="expected"):
        codec.decode(flow.Attempt, {**good, **field})


def test_types_without_a_form_are_our_mistake() -> None:
    """A value that no field of `flow` can have is refused when it is written, not when it is read."""
    with pytest.raises(TypeError, match="no JSON form"):
        codec.encode(object())
