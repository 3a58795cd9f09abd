"""The frontier gives every answer once, the best first, however it is expanded."""

import itertools
import math
from functools import reduce
from operator import or_

from hypothesis import given
from hypothesis import strategies as st

from swarmcode.agent.frontier import Found, Frontier, Worth
from swarmcode.agent.pointers import Answer, Favour, Trie

END = 0
NOTHING = Favour(0.0)
DEPTH = 3


def chances(line: int, answer: Answer) -> list[tuple[int, float]]:
    """A toy model: three words and the end, their probabilities a function of what stands before, and an end at the
    latest after three words."""
    if len(answer) == DEPTH:
        return [(END, 0.0)]
    raw = [1 + (7 * line + 13 * sum(answer) + 5 * token * len(answer) + 3 * token) % 11 for token in range(4)]
    return [(token, math.log(weight / sum(raw))) for token, weight in enumerate(raw)]


def every(lines: int) -> dict[tuple[int, Answer], float]:
    """All answers with their log-probabilities."""
    found: dict[tuple[int, Answer], float] = {}
    for line, length in itertools.product(range(lines), range(DEPTH + 1)):
        for words in itertools.product((1, 2, 3), repeat=length):
            answer = (*words, END)
            found[line, answer] = sum(dict(chances(line, answer[:place]))[token] for place, token in enumerate(answer))
    return found


def drained(frontier: Frontier, tries: dict[int, Trie], widths: list[int]) -> list[Found]:
    """All that comes out, expanding as many at once as `widths` says, over and over."""
    out = []
    for width in itertools.cycle(widths):
        while (found := frontier.pop()) is not None:
            out.append(found)
        if frontier.exhausted:
            return out
        for node in frontier.take(width):
            frontier.put(node, chances(node.line, node.answer), node.listed if node.answer else tries[node.line])
    raise AssertionError("cycle never ends")


@given(
    st.lists(st.floats(-5, 0), min_size=1, max_size=3),
    st.floats(0.2, 1.5),
    st.floats(-1, 1),
    st.dictionaries(
        st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
        st.builds(Favour, st.floats(-2, 2), st.floats(-9, 0), st.floats(0, 3)),
        max_size=5,
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_all_answers_come_out_once_the_best_first(
    weights: list[float], trust: float, unlisted: float, listed: dict[Answer, Favour], widths: list[int]
) -> None:
    """Whatever the weights, the bonuses, what is hoped for and comes true, and the number that is expanded at once."""
    tries = {line: Trie.of(((*words, END), favour) for words, favour in listed.items()) for line in range(len(weights))}
    highest = reduce(or_, listed.values(), Favour())
    worth = Worth(trust=trust, unlisted=unlisted)
    frontier = Frontier(weights, worth, highest, END, lambda line, answer: -listed.get(answer[:-1], NOTHING).hope)
    out = drained(frontier, tries, widths)
    expected: dict[tuple[int, Answer], float] = {}
    for (line, answer), chance in every(len(weights)).items():
        favour = listed.get(answer[:-1], Favour(unlisted))
        expected[line, answer] = weights[line] + max(trust * chance + favour.bonus, favour.floor) + favour.hope
    assert sorted((found.line, found.answer) for found in out) == sorted(expected)
    assert all(math.isclose(found.score, expected[found.line, found.answer], abs_tol=1e-9) for found in out)
    assert all(one.score >= two.score - 1e-9 for one, two in itertools.pairwise(out))


def test_what_finishing_costs_delays_an_answer_and_what_is_no_answer_never_comes_out() -> None:
    """The cost is known only when an answer is finished, so better ones may come first."""
    costs: dict[Answer, float | None] = {(END,): 100.0, (1, END): None}
    frontier = Frontier([0.0], Worth(trust=1.0), NOTHING, END, lambda line, answer: costs.get(answer, 0.0))
    out = [found.answer for found in drained(frontier, {0: Trie()}, [4])]
    assert out[-1] == (END,)
    assert (1, END) not in out
    assert len(out) == len(every(1)) - 1


def test_the_cost_is_asked_for_where_it_matters() -> None:
    """It takes time: of all that is finished, only for what may come out next; for what may cost less than nothing
    before that."""
    asked: list[Answer] = []

    def finish(line: int, answer: Answer) -> float:
        asked.append(answer)
        return -2.0 if answer == (2, END) else 0.0

    frontier = Frontier([0.0], Worth(trust=1.0), NOTHING, END, finish, lambda line, answer: 3.0 * (answer == (2, END)))
    while nodes := frontier.take(100):
        for node in nodes:
            frontier.put(node, chances(0, node.answer), None)
    likeliest = max(every(1).items(), key=lambda item: item[1])[0][1]
    first = frontier.pop()
    assert first is not None
    assert asked == [(2, END)] if first.answer == (2, END) else [(2, END), likeliest]
    assert math.isclose(first.score, max(every(1)[0, (2, END)] + 2.0, every(1)[0, likeliest]))


def test_a_line_is_not_looked_at_before_it_is_worth_it() -> None:
    """The most suspicious line is expanded alone as long as what it still promises is worth more than the other."""
    frontier = Frontier([0.0, -3.0], Worth(trust=1.0), NOTHING, END, lambda line, answer: 0.0)
    (first,) = frontier.take(1)
    frontier.put(first, [(END, math.log(0.5)), (1, math.log(0.5))], Trie())
    (second,) = frontier.take(1)
    assert (first.line, second.line) == (0, 0)


def test_a_batch_is_no_wider_than_what_is_nearly_as_good() -> None:
    """What is worth much less than the best waits, though there is room."""
    frontier = Frontier([-1.0, 0.0, -2.5], Worth(trust=1.0), NOTHING, END, lambda line, answer: 0.0)
    assert [node.line for node in frontier.take(9, 1.5)] == [1, 0]
    assert [node.line for node in frontier.take(9, 1.5)] == [2]


def test_nodes_that_were_not_expanded_come_again() -> None:
    """A batch that is cancelled loses nothing."""
    frontier = Frontier([0.0, -1.0], Worth(trust=1.0), NOTHING, END, lambda line, answer: 0.0)
    taken = frontier.take(2)
    frontier.put(taken[0], chances(0, ()), Trie())
    frontier.give_back(taken)
    tries = {0: Trie(), 1: Trie()}
    assert len(drained(frontier, tries, [3])) == len(every(2))


def test_hopeless_beginnings_are_left() -> None:
    """Below the faintest probability nothing is followed, so a search ends."""
    frontier = Frontier([0.0], Worth(trust=1.0, faintest=-1.0), NOTHING, END, lambda line, answer: 0.0)
    (root,) = frontier.take(1)
    frontier.put(root, [(1, -1.5), (2, -1.5)], Trie())
    assert frontier.exhausted
