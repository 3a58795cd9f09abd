"""What is guessed is what followed before, and only while it is worth its time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.engine.draft import DEPTHS, LONG, SHORT, Drafter, Way, depth
from swarmcode.engine.pace import Pace

TOKENS = st.lists(st.sampled_from([0, 1, 2, 255, 256, 65_536, 2**31]), max_size=60)


def reference(tokens: list[int]) -> list[int]:
    """What followed the last place where the longest known end of `tokens` stood before, all of it."""
    for length in (*LONG, SHORT):
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
    assert drafter.trust < sure
    assert sure > 0.95 > doubtful


PASSAGE = list(range(10, 60))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([*PASSAGE[:20], 99], PASSAGE[21:]),
        ([*PASSAGE[:20], 99, PASSAGE[20], PASSAGE[21]], PASSAGE[22:]),
        (PASSAGE[:20] + PASSAGE[25:27], PASSAGE[27:]),
        ([*PASSAGE[:20], 99, 98, 97, PASSAGE[23], PASSAGE[24]], PASSAGE[25:]),
    ],
    ids=["replaced", "added", "left out", "three for three"],
)
def test_a_copy_that_was_changed_is_followed_on(said: list[int], expected: list[int]) -> None:
    """Behind the change, in the original that it departed from, although the same tokens stand elsewhere, too."""
    elsewhere = [70, PASSAGE[25], PASSAGE[26], 71, PASSAGE[20], PASSAGE[21], 72, PASSAGE[23], PASSAGE[24], 73]
    drafter = Drafter([*PASSAGE, *elsewhere])
    drafter.extend(said)
    guess = drafter.guess(1000)
    assert guess[: len(expected)] == expected


def test_it_learns_what_changes_are_like() -> None:
    """Where tokens are added again and again, the guess behind one is that the copy goes on where it was."""
    drafter = Drafter(PASSAGE)
    drafter.extend(PASSAGE[:4])
    for at in range(4, 40, 4):
        drafter.extend([100 + at, *PASSAGE[at : at + 4]])
    drafter.extend([99])
    assert drafter.guess(3) == PASSAGE[40:43]
    assert drafter.trust > Way.ADDED.value


def line(fixed: float, each: float) -> list[float]:
    return [fixed + each * count for count in (0, *DEPTHS)]


@pytest.mark.parametrize(
    ("first", "further", "costs", "expected"),
    [
        (0.0, 0.9, line(1, 0.01), 0),
        (0.5, 0.9, line(1, 1), 0),
        (1.0, 0.99, line(1, 0.01), max(DEPTHS)),
        (0.9, 0.0, line(1, 0.5), 1),
    ],
)
def test_a_guess_is_as_long_as_it_pays(first: float, further: float, costs: list[float], expected: int) -> None:
    """None where a token costs more than it can save."""
    assert depth(first, further, costs) == expected


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 10), st.floats(0.001, 10))
def test_no_other_length_gives_more_tokens_for_the_time(
    first: float, further: float, fixed: float, each: float
) -> None:
    """Counted one by one: the first, and each as long as all before it were right."""
    costs = line(fixed + each, each)

    def rate(count: int) -> float:
        return (1 + sum(first * min(further, 0.99) ** place for place in range(count))) / (fixed + each + each * count)

    best = rate(depth(first, further, costs))
    assert all(rate(count) <= best * (1 + 1e-9) for count in (0, *DEPTHS))


WIDTHS = (1, 2, 5, 8, 17, 32, 64)


@given(st.floats(1e-4, 1), st.floats(1e-6, 1e-2))
def test_what_a_step_costs_is_learned(fixed: float, each: float) -> None:
    """Within a fifth, also where the first tokens are dearer than the others, and for widths between those seen."""
    pace = Pace()

    def seconds(tokens: int) -> float:
        return fixed + each * (tokens + 4 * min(tokens, 8))

    for number in range(400):
        width = WIDTHS[number % len(WIDTHS)]
        pace.observe(width, seconds(width))
    for tokens in (1, 3, 8, 20, 48, 64):
        assert pace.seconds(tokens) == pytest.approx(seconds(tokens), rel=0.2)


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(1e-6, 10)), min_size=1, max_size=40))
def test_every_step_takes_some_time(steps: list[tuple[int, float]]) -> None:
    """Whatever was observed, also of widths beyond those."""
    pace = Pace()
    for tokens, seconds in steps:
        pace.observe(tokens, seconds)
    assert pace.known
    assert all(pace.seconds(tokens) > 0 for tokens in (1, 8, 100, 1000))


def test_nothing_is_known_before_the_first_step() -> None:
    """After steps that were all alike, a step is taken to have a price of its own, so that guessing is tried."""
    pace = Pace()
    assert not pace.known
    for _ in range(500):
        pace.observe(1, 0.01)
    assert pace.seconds(1) == pytest.approx(0.01)
    assert pace.seconds(8) < 0.03


def test_what_is_not_seen_again_is_forgotten() -> None:
    """Else a width that was dear once would never be tried again."""
    pace = Pace()
    for _ in range(20):
        pace.observe(1, 0.01)
        pace.observe(32, 1.0)
    for _ in range(400):
        pace.observe(1, 0.01)
        pace.observe(8, 0.02)
    assert pace.seconds(32) < 0.1


def test_a_step_that_was_held_up_hardly_counts() -> None:
    """One that took a hundred times as long changes what is known by little."""
    pace = Pace()
    for number in range(200):
        pace.observe(1 + number % 9, 0.01 + 0.001 * (1 + number % 9))
    before = pace.seconds(9)
    pace.observe(9, 2.0)
    assert pace.seconds(9) < 1.15 * before
