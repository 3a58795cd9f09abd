"""Print the corrections `catalogue.DRAW` that bring the shares of drawn faults near the operators' weights.

python -m repairmodel.faults.calibrate --data DIR
"""

import argparse
import random
from collections import Counter
from pathlib import Path

from ..batches import keep
from ..corpus import HERE, load
from . import catalogue
from .code import Code

LEAST, MOST = 0.02, 30.0


def shares(codes: list[Code], seed: int) -> Counter[str]:
    """How often each operator is drawn."""
    rng = random.Random(seed)
    return Counter(
        f.operator for code in codes for group in catalogue.sample(code, rng, trees=2, branches=6) for f in group
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--functions", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    rng = random.Random(0)
    texts = [text for record in load(args.data / "train.jsonl") if keep(text := record["text"], rng)]
    codes = []
    for text in rng.sample(texts, args.functions):
        try:
            codes.append(Code(text))
        except (SyntaxError, ValueError):
            continue
    total = sum(operator.weight for operator in catalogue.CATALOGUE)
    for number in range(args.rounds):
        counts = shares(codes, number)
        for operator in catalogue.CATALOGUE:
            seen = (counts[operator.name] + 1) / counts.total()
            factor = catalogue.DRAW.get(operator.name, 1.0) * (operator.weight / total / seen) ** 0.7
            catalogue.DRAW[operator.name] = round(min(MOST, max(LEAST, factor)), 3)
    print(catalogue.DRAW)
    counts = shares(codes, 99)
    for operator in catalogue.CATALOGUE:
        wanted, drawn = operator.weight / total, counts[operator.name] / counts.total()
        print(f"{operator.name:22} wanted {100 * wanted:5.2f}%  drawn {100 * drawn:5.2f}%")


if __name__ == "__main__":
    main()
