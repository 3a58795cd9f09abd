"""What is guessed is what followed before, and only while it is worth its time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.draft import DEPTHS, LENGTHS, Drafter, depth
from swarmcode.engine.pace import Pace

TOKENS = st.lists(st.sampled_from([0, 1, 2, 255, 256, 65_536, 2**31]), max_size=60)


def reference(tokens: list[int]) -> list[int]:
    """What followed the last place where the longest known end of `tokens` stood before, all of it."""
    for length in LENGTHS:
        for place in range(len(tokens) - length - 1, -1, -1):
            if tokens[place : place + length] == tokens[-length:]:
                return tokens[place + length :]
    return []


@given(TOKENS)
def test_a_guess_is_what_followed_before(tokens: list[int]) -> None:
    """Of a sequence that it has not seen grow, tokens of any size, also where their bytes match between two tokens."""
    assert Drafter(tokens).guess(1000) == reference(tokens)


@given(TOKENS, TOKENS, st.integers(0, 5))
def test_a_guess_never_reaches_beyond_the_sequence(prompt: list[int], answer: list[int], count: int) -> None:
    """However it grew: at most as many as asked for, and a run of tokens that stands in it."""
    drafter = Drafter(prompt)
    for token in answer:
        drafter.extend([token])
    assert drafter.length == len(prompt) + len(answer)
    whole = prompt + answer
    guess = drafter.guess(count)
    assert len(guess) <= count
    assert any(whole[place : place + len(guess)] == guess for place in range(len(whole) + 1))


def test_a_copy_is_followed() -> None:
    """Once two tokens of it are there, a copied passage is guessed to its end, and the trust grows; where it is left,
    the trust falls."""
    passage = list(range(10, 60))
    drafter = Drafter([*passage, 1, 2, 3])
    drafter.extend(passage[:2])
    doubtful = drafter.trust
    assert drafter.guess(15) == passage[2:17]
    drafter.extend(passage[2:30])
    sure = drafter.trust
    assert drafter.guess(15) == passage[30:45]
    drafter.extend([99])
    assert drafter.guess(15) == []
    assert drafter.trust < sure
    assert sure > 0.95 > doubtful


@pytest.mark.parametrize(("trust", "price", "expected"), [(0.9, 0.95, 0), (0.5, 0.5, 0), (0.9, 0.9, 0), (1.0, 0.5, 15)])
def test_a_guess_is_as_long_as_it_pays(trust: float, price: float, expected: int) -> None:
    """None where a token costs more than it can save."""
    assert depth(trust, price) == expected


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_every_guessed_token_is_expected_to_pay(trust: float, price: float) -> None:
    """The last of them too, and where one more trust is given, no fewer are guessed."""
    count = depth(trust, price)
    assert count == 0 or (count in DEPTHS and min(trust, 0.999) ** count >= price * 0.999)
    assert depth(min(1.0, trust + 0.1), price) >= count


@given(st.floats(1e-4, 1), st.floats(1e-6, 1e-2), st.integers(1, 50))
def test_the_price_of_a_token_is_learned(fixed: float, each: float, sequences: int) -> None:
    """From steps of different width on a machine that keeps a straight line, within a fifth of it."""
    pace = Pace()
    for number in range(300):
        tokens = 1 + number % 17
        pace.observe(tokens, fixed + each * tokens)
    expected = each / (fixed / sequences + each)
    assert pace.price(sequences) == pytest.approx(expected, rel=0.2, abs=0.06)


def test_a_guess_is_dear_until_something_is_known() -> None:
    """Before the first step nothing is guessed; after steps that were all alike, a step is taken to have a price of
    its own, so that guessing is tried."""
    pace = Pace()
    assert pace.price(1) == 1.0
    for _ in range(500):
        pace.observe(1, 0.01)
    assert pace.price(1) < 0.3
    for _ in range(50):
        pace.observe(1, 0.01)
        pace.observe(8, 0.08)
    assert pace.price(1) > 0.9


def test_a_step_that_was_held_up_hardly_counts() -> None:
    """One that took a hundred times as long changes the price by little."""
    pace = Pace()
    for number in range(200):
        pace.observe(1 + number % 9, 0.01 + 0.001 * (1 + number % 9))
    before = pace.price(4)
    pace.observe(9, 2.0)
    assert pace.price(4) == pytest.approx(before, abs=0.15)
