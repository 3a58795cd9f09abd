"""Evaluate a GGUF file through llama.cpp on faults in functions of held-out projects.

    python -m repairmodel.evaluate --data DIR --model FILE.gguf [--faults 600] [--functions 120] [--samples 0]
    python -m repairmodel.evaluate --data DIR --model FILE.gguf --real FILE.jsonl      real one-line fixes

Given the line: repair@1, @10, @50 over distinct answers, best first, from a beam search under the protocol's mask, in
all and per class. Without the line: every line of the function is asked, all answers are ranked together by
probability, and the first 100 are the candidates. `--samples N` also draws N answers at temperature 1, with
repetitions, as a swarm of independent agents does.

A repair is exact: the text of the function as it was before the fault. Candidates that mean the same count as wrong, so
these numbers are lower bounds on what tests would accept. Times are of the processor, all threads together, so that
they can be compared on a busy machine; idle threads of llama.cpp spin, so measure with `--threads 1`.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from .cases import Case, cases, real_cases
from .corpus import HERE, load
from .llama import Llama
from .prompt import Codec
from .proposer import Proposer
from .spans import Span, SpanV1, SpanV2

BUDGETS = (1, 10, 50)


def given_line(proposer: Proposer, faults: list[Case], samples: int) -> dict[str, object]:
    """repair@k in all and by class, and what an answer costs."""
    ranks: dict[str, list[int]] = defaultdict(list)
    drawn: list[tuple[int, int]] = []
    tokens: list[int] = []
    rng = np.random.default_rng(0)
    start = time.process_time()
    for fault in faults:
        answers = proposer.answers(fault.lines, fault.line)
        ranks[fault.kind].append(next((n for n, a in enumerate(answers, 1) if a.text == fault.wanted), 10**6))
        tokens += [a.tokens for a in answers[:10]]
    seconds = time.process_time() - start
    if samples:
        for fault in faults:
            texts = proposer.draw(fault.lines, fault.line, samples, rng)
            drawn.append((sum(t == fault.wanted for t in texts), len(set(texts))))
    every = [rank for kind in ranks.values() for rank in kind]
    result: dict[str, object] = {
        "faults": len(every),
        "repair": {f"@{k}": share(every, k) for k in BUDGETS},
        "by_class": {
            k: {"faults": len(r), **{f"@{b}": share(r, b) for b in BUDGETS}} for k, r in sorted(ranks.items())
        },
        "tokens_per_answer": sum(tokens) / max(1, len(tokens)),
        "cpu_milliseconds_per_line": 1000 * seconds / len(faults),
    }
    if samples:
        result["drawn"] = {
            "samples": samples,
            "mean@1": sum(hits for hits, _ in drawn) / samples / len(drawn),
            "pass@n": sum(hits > 0 for hits, _ in drawn) / len(drawn),
            "distinct": sum(distinct for _, distinct in drawn) / len(drawn),
        }
    return result


def without_line(proposer: Proposer, faults: list[Case], budget: int) -> dict[str, object]:
    """The share repaired within `budget` candidates over all lines, and what a function costs."""
    found, first, start, sizes = 0, 0, time.process_time(), 0
    for fault in faults:
        answers = [a for line in range(len(fault.lines)) for a in proposer.answers(fault.lines, line)]
        best: dict[str, float] = {}
        for answer in answers:
            best[answer.text] = max(answer.score, best.get(answer.text, -np.inf))
        ranked = sorted(best, key=lambda text: -best[text])[:budget]
        found += fault.wanted in ranked
        first += ranked[:1] == [fault.wanted]
        sizes += len(fault.lines)
    return {
        "functions": len(faults),
        f"repair@{budget}": found / len(faults),
        "repair@1": first / len(faults),
        "lines": sizes / len(faults),
        "cpu_milliseconds_per_function": 1000 * (time.process_time() - start) / len(faults),
    }


def share(ranks: list[int], budget: int) -> float:
    """Share of ranks within the budget."""
    return sum(rank <= budget for rank in ranks) / max(1, len(ranks))


def span_of(llama: Llama, tokenizer: Path) -> Span:
    """The version of the protocol that the file speaks."""
    return (
        SpanV2(Codec(tokenizer))
        if llama.metadata("swarmcode.span.version") == "2"
        else SpanV1(tokenizer, llama.vocabulary)
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=None)
    parser.add_argument("--faults", type=int, default=600)
    parser.add_argument("--functions", type=int, default=120)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--width", type=int, default=50)
    parser.add_argument("--real", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    llama = Llama(args.model, threads=args.threads, cells=16384, sequences=2 * max(args.width, args.samples // 2) + 2)
    span = span_of(llama, args.tokenizer or args.data / "tokenizer.json")
    if args.real:
        result: dict[str, object] = {
            "real": given_line(Proposer(llama, span, args.width), real_cases(args.real), args.samples)
        }
    else:
        faults = cases(load(args.data / "held-out.jsonl"), args.faults, args.seed)
        result = {"given_line": given_line(Proposer(llama, span, args.width), faults, args.samples)}
        llama.clear()
        short = [f for f in faults if len(f.lines) <= 30][: args.functions]
        if short:
            result["without_line"] = without_line(Proposer(llama, span, 12), short, 100)
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text)


if __name__ == "__main__":
    main()
