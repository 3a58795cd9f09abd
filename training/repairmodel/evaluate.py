"""Evaluate a GGUF file through llama.cpp on faults in functions of held-out projects.

    python -m repairmodel.evaluate --data DIR --model FILE.gguf [--faults 600] [--functions 120] [--samples 0] [--json
    FILE] python -m repairmodel.evaluate --data DIR --model FILE.gguf --real FILE.jsonl      real one-line fixes

Given the line: repair@1, @10, @50 over distinct answers, best first, from a beam search under the protocol's mask, in
all and per class. Without the line: every line of the function is asked, all answers are ranked together by
probability, and the first 100 are the candidates. `--samples N` also draws N answers at temperature 1, with
repetitions, as a swarm of independent agents does.

A repair is exact: the text of the function as it was before the fault. Candidates that mean the same count as wrong, so
these numbers are lower bounds on what tests would accept.
"""

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .corpus import HERE, load
from .faults import Code, Fault, sample
from .faults.catalogue import BY_NAME
from .llama import Llama
from .prompt import ANSWER_TOKENS, END, Codec
from .spans import Span, SpanV1, SpanV2

BUDGETS = (1, 10, 50)


@dataclass(slots=True, kw_only=True)
class Case:
    """A faulty function: its lines, which one is at fault, and what the whole should be."""

    kind: str
    lines: list[str]
    line: int
    wanted: str
    source: str


def cases(records: list[dict[str, str]], count: int, seed: int) -> list[Case]:
    """Faults drawn as in training, one for each function."""
    rng = random.Random(seed)
    found: list[Case] = []
    for record in rng.sample(records, len(records)):
        if len(found) == count:
            break
        try:
            code = Code(record["text"])
        except (SyntaxError, ValueError):
            continue
        groups = sample(code, rng, trees=1, branches=6)
        if groups:
            found.append(case(code, rng.choice(groups[0]), f"{record['project']}:{record['name']}"))
    return found


def case(code: Code, fault: Fault, source: str) -> Case:
    """The fault as something to repair."""
    lines = code.faulty(fault).split("\n")
    return Case(
        kind=BY_NAME[fault.operator].kind, lines=lines, line=fault.head, wanted="\n".join(code.lines), source=source
    )


@dataclass(slots=True)
class Answer:
    """What the model proposes for a line."""

    text: str
    """The function with the answer applied."""
    score: float
    """Log-probability of the answer."""
    tokens: int


@dataclass(slots=True)
class Beam:
    """An unfinished answer."""

    ids: list[int] = field(default_factory=list)
    score: float = 0.0


class Proposer:
    """Distinct answers, best first."""

    def __init__(self, llama: Llama, span: Span, width: int) -> None:
        self.llama, self.span, self.width = llama, span, width
        self.decoded = self.prefilled = 0
        self.prefix: list[int] = []

    def head(self, ids: list[int]) -> NDArray[np.float32]:
        """Compute a prompt in sequence 0, keeping what it shares with the last one; logits of its last token."""
        same = 0
        while same < min(len(ids) - 1, len(self.prefix)) and ids[same] == self.prefix[same]:
            same += 1
        self.llama.cut(0, same)
        self.prefix = ids
        new = ids[same:]
        self.prefilled += len(new)
        return self.llama.decode(new, range(same, len(ids)), [0] * len(new), [False] * (len(new) - 1) + [True])[0]

    def answers(self, lines: Sequence[str], line: int) -> list[Answer]:
        """Up to `width` different texts of the function, best first, and for free the chance that nothing is wrong."""
        asked = self.span.prompt(lines, line)
        if asked is None:
            return []
        ids, length = asked
        logits = self.head(ids)[None]
        beams, done = [Beam()], []
        for step in range(ANSWER_TOKENS):
            grown = self._grow(beams, logits, length)
            floor = sorted((b.score for _, b in done), reverse=True)[self.width - 1 : self.width]
            beams = []
            for parent, beam in grown[: self.width]:
                if beam.ids[-1] == END:
                    done.append((parent, beam))
                elif not floor or beam.score > floor[0]:
                    beams.append((parent, beam))  # type: ignore[arg-type]
            if not beams:
                break
            logits, beams = self._advance(beams, len(ids) + step, step)  # type: ignore[arg-type]
        for sequence in range(1, 2 * self.width + 1):
            self.llama.cut(sequence)
        return self._texts(lines, line, [beam for _, beam in done])

    def _grow(self, beams: list[Beam], logits: NDArray[np.float32], length: int) -> list[tuple[int, Beam]]:
        grown = []
        for number, (beam, row) in enumerate(zip(beams, logits, strict=True)):
            mask = self.span.mask(beam.ids, length)
            row = np.where(mask, row, -np.inf)
            row = row - row.max()
            row = row - np.log(np.exp(row).sum())
            for token in np.argpartition(-row, self.width)[: self.width]:
                if row[token] > -20:
                    grown.append((number, Beam([*beam.ids, int(token)], beam.score + float(row[token]))))
        return sorted(grown, key=lambda pair: -pair[1].score)

    def _advance(
        self, beams: list[tuple[int, Beam]], position: int, step: int
    ) -> tuple[NDArray[np.float32], list[Beam]]:
        old, new = (1 if step % 2 else 1 + self.width), (1 + self.width if step % 2 else 1)
        for number, (parent, _) in enumerate(beams):
            self.llama.copy(old + parent if step else 0, new + number)
        for number in range(self.width):
            self.llama.cut(old + number)
        kept = [beam for _, beam in beams]
        self.decoded += len(kept)
        sequences = range(new, new + len(kept))
        return self.llama.decode([b.ids[-1] for b in kept], [position] * len(kept), sequences, [True] * len(kept)), kept

    def _texts(self, lines: Sequence[str], line: int, beams: list[Beam]) -> list[Answer]:
        seen: dict[str, Answer] = {}
        for beam in sorted(beams, key=lambda b: -b.score):
            new = self.span.apply(lines[line], beam.ids)
            if new is not None and new != lines[line]:
                text = "\n".join([*lines[:line], *([new] if new.strip() else []), *lines[line + 1 :]])
                seen.setdefault(text, Answer(text, beam.score, len(beam.ids)))
        return list(seen.values())[: self.width]

    def draw(self, lines: Sequence[str], line: int, count: int, rng: np.random.Generator) -> list[str]:
        """`count` independent answers at temperature 1, as texts of the function; unusable ones are left out."""
        asked = self.span.prompt(lines, line)
        if asked is None:
            return []
        ids, length = asked
        first = self.head(ids)
        for number in range(count):
            self.llama.copy(0, 1 + number)
        drawn: list[list[int]] = [[] for _ in range(count)]
        logits, alive = np.repeat(first[None], count, axis=0), list(range(count))
        for step in range(ANSWER_TOKENS):
            for row, number in zip(logits, alive, strict=True):
                mask = self.span.mask(drawn[number], length)
                noisy = np.where(mask, row - np.log(-np.log(rng.random(len(row)) + 1e-30) + 1e-30), -np.inf)
                drawn[number].append(int(noisy.argmax()))
            alive = [n for n in alive if drawn[n][-1] != END]
            if not alive:
                break
            self.decoded += len(alive)
            logits = self.llama.decode(
                [drawn[n][-1] for n in alive],
                [len(ids) + step] * len(alive),
                [1 + n for n in alive],
                [True] * len(alive),
            )
        for number in range(count):
            self.llama.cut(1 + number)
        texts = [self.span.apply(lines[line], answer) for answer in drawn]
        return [
            "\n".join([*lines[:line], *([t] if t.strip() else []), *lines[line + 1 :]]) for t in texts if t is not None
        ]


def given_line(proposer: Proposer, faults: list[Case], samples: int) -> dict[str, object]:
    """repair@k in all and by class."""
    ranks: dict[str, list[int]] = defaultdict(list)
    drawn: list[tuple[int, int]] = []
    tokens: list[int] = []
    rng = np.random.default_rng(0)
    start = time.monotonic()
    for fault in faults:
        answers = proposer.answers(fault.lines, fault.line)
        ranks[fault.kind].append(next((n for n, a in enumerate(answers, 1) if a.text == fault.wanted), 10**6))
        tokens += [a.tokens for a in answers[:10]]
    seconds = time.monotonic() - start
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
        "milliseconds_per_line": 1000 * seconds / len(faults),
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
    """The share repaired within `budget` candidates over all lines, and the time a function takes."""
    found, first, start, sizes = 0, 0, time.monotonic(), 0
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
        "milliseconds_per_function": 1000 * (time.monotonic() - start) / len(faults),
    }


def share(ranks: list[int], budget: int) -> float:
    """Share of ranks within the budget."""
    return sum(rank <= budget for rank in ranks) / max(1, len(ranks))


def real_cases(path: Path) -> list[Case]:
    """Lines of JSON with `before` (the function, cleaned), `after`, `line` and `source`."""
    return [
        Case(kind="real", lines=r["before"].split("\n"), line=r["line"], wanted=r["after"], source=r["source"])
        for r in (json.loads(row) for row in path.read_text().splitlines())
    ]


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
