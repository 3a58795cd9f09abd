"""Words of an issue against names and identifiers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.localise.text import Document, coarse, match, terms

DOCUMENTS = [
    Document.of(name="Cart.total", path="shop/cart.py", body="def total(self): return sum(self.items)"),
    Document.of(name="parseDate", path="shop/dates.js", body="function parseDate(text) { return new Date(text) }"),
    Document.of(name="load", path="shop/cart.py", body="def load(items): return list(items) + list(items)"),
    Document.of(name="", path="README.py", body=""),
]


def best(issue: str) -> str:
    scores = match(terms(issue), DOCUMENTS)
    assert max(scores) == 1
    return DOCUMENTS[scores.index(max(scores))].name


@pytest.mark.parametrize(
    ("issue", "name"),
    [
        ("The total is wrong", "Cart.total"),
        ("`parse_date` ignores the zone", "parseDate"),
        ("parsing of dates fails", "parseDate"),
        ("loading is slow", "load"),
        ("Cart.total() of two items", "Cart.total"),
    ],
)
def test_the_function_that_is_meant(issue: str, name: str) -> None:
    """Identifiers match across naming styles, and words across plurals and tenses."""
    assert best(issue) == name


def test_terms() -> None:
    """What is shown as code weighs more; words of any report are left out; at most 60 remain."""
    found = terms("The `max_width` of a Table should not be zero when it fails in test")
    assert found["max_width"] > found["table"] > 0
    assert {"the", "should", "fails", "test", "of"}.isdisjoint(found)
    assert len(terms(" ".join(f"word{number}x" for number in range(500)))) == 60
    assert terms("") == {}


def test_rare_words_count_more() -> None:
    """A word in every function tells nothing next to one in a single function."""
    documents = [Document.of(name=f"f{n}", path="a.py", body="common words here") for n in range(9)]
    documents.append(Document.of(name="g", path="a.py", body="unusual"))
    scores = match(terms("common unusual"), documents)
    assert scores[-1] == 1
    assert all(score < 0.3 for score in scores[:-1])


def test_no_match_is_zero() -> None:
    """Nothing in common scores 0, and so does everything for an empty query."""
    assert match(terms("xyzzy"), DOCUMENTS) == [0.0] * 4
    assert match({}, DOCUMENTS) == [0.0] * 4
    assert match(terms("total"), []) == []


def test_coarse_looks_at_names_and_contents() -> None:
    """Files that hold no word are not in the answer; a name counts more than a mention."""
    contents = {"cart.py": b"x", "other.py": b"the Cart is here", "none.py": b"nothing"}
    scores = coarse(terms("cart"), contents)
    assert scores.keys() == {"cart.py", "other.py"}
    assert scores["cart.py"] > scores["other.py"] > 0


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.lists(st.text(max_size=50), max_size=4))
def test_bounds(issue: str, bodies: list[str]) -> None:
    """Scores are in 0..1, one for each document, for any text."""
    documents = [Document.of(name="f", path="p", body=body) for body in bodies]
    scores = match(terms(issue), documents)
    assert len(scores) == len(documents)
    assert all(0 <= score <= 1 for score in scores)
