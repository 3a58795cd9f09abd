"""What may not be in the corpus: projects of public repair benchmarks, QuixBugs programs, functions of examples/.

Covers whole projects by name, the program names of QuixBugs, and near-copies of functions in examples/. Does not
compare with the text of PyPIBugs, which is published as links to commits only.
"""

import re
from pathlib import Path

from .functions import functions

SWE_BENCH = frozenset(
    """
    astropy django flask matplotlib pylint pytest requests scikit-learn seaborn sphinx sympy xarray
    """.split()
)
BUGSINPY = frozenset(
    """
    ansible ansible-core black cookiecutter fastapi httpie keras luigi matplotlib pandas pysnooper sanic scrapy spacy
    thefuck tornado tqdm youtube-dl
    """.split()
)
BENCHMARKS = SWE_BENCH | BUGSINPY
"""Their code is never read, whatever packages.txt says."""
QUIXBUGS = frozenset(
    """
    bitcount breadth_first_search bucketsort depth_first_search detect_cycle find_first_in_sorted find_in_sorted flatten
    gcd get_factors hanoi is_valid_parenthesization kheapsort knapsack kth lcs_length levenshtein lis
    longest_common_subsequence max_sublist_sum mergesort minimum_spanning_tree next_palindrome next_permutation pascal
    possible_change powerset quicksort reverse_linked_list rpn_eval shortest_path_length shortest_path_lengths
    shortest_paths shunting_yard sieve sqrt subsequences to_base topological_ordering wrap
    """.split()
)
SHINGLE = 8
"""Code tokens that two functions must share in a row to have one shingle in common."""
FEW = 10
"""An example with fewer shingles than this looks like too much else; only its exact copy is kept out."""


def quixbugs(name: str) -> bool:
    """Whether a function (qualified name) is called like a QuixBugs program."""
    return name.rsplit(".", 1)[-1] in QUIXBUGS


class Examples:
    """The functions of examples/, and whether another function is nearly one of them."""

    def __init__(self, folder: Path) -> None:
        self.texts = list(_functions_under(folder))
        known = [(words(text), shingles(text)) for text in self.texts]
        self._known = [(used, own) for used, own in known if len(own) >= FEW]

    def near(self, text: str) -> bool:
        """Whether the text has more than half of the shingles of an example."""
        used = words(text)
        # The share of known words is cheap to look at, and rules most out.
        candidates = [own for known, own in self._known if 3 * len(known & used) >= len(known)]
        own = shingles(text) if candidates else set()
        return any(2 * len(own & theirs) > len(theirs) for theirs in candidates)


def _functions_under(folder: Path) -> list[str]:
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else []:
        try:
            found += [each.text for each in functions(path.read_text())]
        except (SyntaxError, ValueError):
            continue
    return found


def shingles(text: str) -> set[tuple[str, ...]]:
    """Runs of code tokens."""
    tokens = re.findall(r"\w+|[^\w\s]", text)
    return {tuple(tokens[i : i + SHINGLE]) for i in range(len(tokens) - SHINGLE + 1)}


def words(text: str) -> set[str]:
    """Names of five letters or more."""
    return set(re.findall(r"[A-Za-z_]\w{4,}", text))
