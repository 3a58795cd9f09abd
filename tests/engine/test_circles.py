"""Answers that go in circles end where it is seen, and no others."""

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.answer import LOOK, Answer
from swarmcode.engine.circles import LEAST, LONG, SHORT, in_circles
from swarmcode.engine.protocol import Request, Sampling

pieces = st.lists(st.integers(0, 9), min_size=1, max_size=LONG)


@given(before=st.lists(st.integers(0, 9), max_size=50), piece=pieces, cut=st.integers(0, LONG))
def test_a_piece_again_and_again_is_a_circle(before: list[int], piece: list[int], cut: int) -> None:
    """Whatever stands before it, and wherever in the piece the answer stands."""
    times = max(5, LEAST // len(piece) + 2)
    assert in_circles(before + piece * times + piece[: cut % len(piece)])


@given(piece=st.lists(st.integers(0, 9), min_size=SHORT + 1, max_size=LONG, unique_by=None))
def test_twice_is_none(piece: list[int]) -> None:
    """Code says much twice."""
    ends = [*range(100, 100 + len(piece)), *piece]
    assert not in_circles(ends + ends)


def test_short_repetitions_are_none() -> None:
    """A row of a table is no circle before it has gone on for long."""
    assert not in_circles([*range(300), *[7] * (LEAST - 1)])
    assert in_circles([*range(300), *[7] * LEAST])
    assert not in_circles([])


@pytest.mark.parametrize("name", ["json/decoder.py", "asyncio/base_events.py", "html/entities.py", "unicodedata"])
def test_code_as_people_write_it_goes_in_no_circles(name: str) -> None:
    """Not even tables: words and signs as tokens, looked at every few of them."""
    place = Path(ast.__file__).parent / name
    source = place.read_text() if place.is_file() else "\n".join(map(repr, sys.builtin_module_names))
    tokens = [hash(word) for word in source.replace("(", " ( ").replace(",", " , ").split()]
    assert not any(in_circles(tokens[:end]) for end in range(LOOK, min(len(tokens), 6000), LOOK))


def answer(*, circling: bool) -> Answer:
    request = Request(prompt=(), sampling=Sampling(max_tokens=4000), circling=circling)
    return Answer(request=request, seed=0, ends=frozenset({1}), piece=lambda token: b"x")


def test_an_answer_ends_where_it_is_seen_to_circle() -> None:
    """At the same token, one by one or many at a time; where nobody minds, it goes on."""
    tokens = [*range(10, 60), *([2, 3, 4] * 200)]
    one_by_one, many = answer(circling=False), answer(circling=False)
    for token in tokens:
        if not one_by_one.finish:
            one_by_one.take(token, -0.5)
    taken = 0
    while not many.finish:
        taken += many.take_all(tokens[taken : taken + 37], [-0.5] * 37)
    assert one_by_one.finish == many.finish == "circles"
    assert one_by_one.tokens == many.tokens == tokens[:taken]
    assert LEAST <= len(many.tokens) < 50 + LEAST + LOOK
    free = answer(circling=True)
    assert free.take_all(tokens, [-0.5] * len(tokens)) == len(tokens)
    assert free.finish is None
