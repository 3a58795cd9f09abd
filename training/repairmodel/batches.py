"""From functions to batches of packed trees: one trunk (the context) and several branches (differently broken lines and
fixes).

A context costs 5-10 times the tokens of a question with its answer, so several faults of one line share it: a branch
attends to the trunk and to itself, positions go on from the trunk's end, and the model sees exactly what it sees at
inference.

A batch is a pure function of (corpus, seed, index): resuming needs no state but the index.
"""

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .faults import Code, Fault, sample
from .prompt import END, PAD, Codec

LM, ANSWER = 0, 1
CORRECT = "correct"
"""Counted among the operators: the line as it was, to be left alone."""
SHORT = 10
"""A function of fewer lines than this is drawn in proportion to its lines: faults of real releases are spread so."""
ALIKE = 1.5
"""Trees whose lengths differ by no more than this factor are padded together."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """Packed trees. N tokens, M positions with a target; all branches of a tree are padded to one length."""

    tokens: Tensor
    """[N] ids."""
    positions: Tensor
    """[N] position in its own sequence."""
    trees: list[tuple[int, int, int]]
    """(trunk length, branches, length of a branch), in order of the tokens."""
    sources: Tensor
    """[M] index of the token that predicts."""
    targets: Tensor
    """[M] id to predict."""
    kinds: Tensor
    """[M] LM or ANSWER."""
    operators: Counter[str] = field(default_factory=Counter)
    _padded: "Padded | None" = None

    def to(self, device: torch.device) -> "Batch":
        """On another device."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("tokens", "positions", "sources", "targets", "kinds")
        }
        return Batch(**moved, trees=self.trees, operators=self.operators)

    def padded(self, kind: torch.dtype) -> "Padded":
        """For attention over padded trees; made on the batch's device, once for all layers."""
        if self._padded is None:
            self._padded = pad(self.trees, self.tokens.device, kind)
        return self._padded


@dataclass(frozen=True, slots=True, kw_only=True)
class Padded:
    """Trees padded for attention: groups of neighbours of about one length, each of B trees of T tokens."""

    size: int
    """Tokens and padding of all groups."""
    places: Tensor
    """[N] where each token goes."""
    masks: list[Tensor]
    """[B, 1, T, T] of each group: 0 where a token sees another, minus infinity elsewhere. Padding sees itself, so that
    no row is empty.
    """


def pad(trees: list[tuple[int, int, int]], device: torch.device, kind: torch.dtype) -> Padded:
    """See `Padded`."""
    sizes = [trunk + count * length for trunk, count, length in trees]
    cuts = [0]
    for number, size in enumerate(sizes):
        least, most = sorted((size, sizes[cuts[-1]]))
        if most > ALIKE * least:
            cuts.append(number)
    whole = torch.tensor(trees).to(device, non_blocking=True)
    masks, starts, filled = [], [], 0
    for start, stop in itertools.pairwise([*cuts, len(trees)]):
        width = -(-max(sizes[start:stop]) // 8) * 8  # the fast kernels want rows of the mask aligned
        masks.append(mask(whole[start:stop], width, kind))
        starts += range(filled, filled + width * (stop - start), width)
        filled += width * (stop - start)
    before = itertools.accumulate(sizes, initial=0)
    shift = torch.tensor([place - flat for place, flat in zip(starts, before, strict=False)])
    counts = torch.tensor(sizes).to(device, non_blocking=True)
    shifts = shift.to(device, non_blocking=True).repeat_interleave(counts, output_size=sum(sizes))
    return Padded(size=filled, places=torch.arange(sum(sizes), device=device) + shifts, masks=masks)


def mask(trees: Tensor, width: int, kind: torch.dtype) -> Tensor:
    """Of one group; see `Padded`. trees: [B, 3]."""
    trunk, count, length = trees.T.unsqueeze(2)
    column = torch.arange(width, device=trees.device)
    inside = column < trunk + count * length
    branch = torch.where(column < trunk, 0, 1 + (column - trunk) // length)  # 0 is the trunk
    sees = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    causal = column[None, :] <= column[:, None]
    seen = sees & causal & inside[:, None, :] | torch.eye(width, dtype=torch.bool, device=trees.device)
    return torch.zeros(seen.shape, dtype=kind, device=trees.device).masked_fill_(~seen, float("-inf")).unsqueeze(1)


@dataclass(slots=True, kw_only=True)
class Tree:
    """A context and its branches, each a list of ids of which those from `answer` on are to be predicted."""

    trunk: list[int]
    branches: list[tuple[list[int], int]]
    """(ids, index of the first id to predict)."""
    operators: list[str]

    def size(self) -> int:
        """Tokens, padding of branches included."""
        return len(self.trunk) + len(self.branches) * max(len(ids) for ids, _ in self.branches)


def tree(codec: Codec, code: Code, faults: list[Fault]) -> Tree | None:
    """The tree of one place; None where no fault of it can be asked and answered."""
    first = faults[0]
    branches, operators = [], []
    for fault in faults:
        question, answer = codec.question(fault.faulty), codec.answer(fault.faulty, fault.fixed)
        if question and answer:
            branches.append(([*question, *answer], len(question)))
            operators.append(fault.operator)
    if not branches:
        return None
    if first.fixed and "\n" not in first.fixed and (question := codec.question(first.fixed)):
        branches.append(([*question, codec.pointer, codec.pointer, END], len(question)))
        operators.append(CORRECT)
    return Tree(
        trunk=codec.trunk(code.lines[: first.head], code.lines[first.tail :]), branches=branches, operators=operators
    )


def keep(text: str, rng: random.Random) -> bool:
    """Whether a drawn function is used: a third of all have two lines, and most real faults sit in longer ones."""
    return rng.random() * SHORT < text.count("\n") + 1


class Batches:
    """Endless batches from function texts."""

    def __init__(
        self,
        texts: list[str],
        codec: Codec,
        *,
        seed: int,
        tokens: int,
        trees: int = 2,
        branches: int = 6,
        lm: float = 0.5,
    ) -> None:
        self.texts, self.codec, self.seed, self.budget = texts, codec, seed, tokens
        self.trees, self.branches, self.lm = trees, branches, lm

    def __call__(self, index: int) -> Batch:
        rng = random.Random(f"{self.seed}:{index}")
        found: list[Tree] = []
        size = 0
        while size < self.budget:
            code = self._draw(rng)
            for group in sample(code, rng, trees=self.trees, branches=self.branches):
                made = tree(self.codec, code, group)
                if made and size < self.budget:
                    found.append(made)
                    size += made.size()
        return pack(sorted(found, key=Tree.size), rng, self.lm)

    def _draw(self, rng: random.Random) -> Code:
        while True:
            text = rng.choice(self.texts)
            if not keep(text, rng):
                continue
            try:
                return Code(text)
            except (SyntaxError, ValueError):  # not a function by itself, such as one that ends in a line continuation
                continue


def pack(trees: list[Tree], rng: random.Random, lm: float) -> Batch:
    """One flat batch; `lm` is the share of the trunk's tokens that are predicted too."""
    tokens: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    targets: list[int] = []
    kinds: list[int] = []
    shapes = []
    for item in trees:
        base, trunk = len(tokens), item.trunk
        tokens += trunk
        positions += range(len(trunk))
        for at in range(len(trunk) - 1):
            if rng.random() < lm:
                sources.append(base + at)
                targets.append(trunk[at + 1])
                kinds.append(LM)
        length = max(len(ids) for ids, _ in item.branches)
        for ids, first in item.branches:
            start = len(tokens)
            tokens += ids + [PAD] * (length - len(ids))
            positions += range(len(trunk), len(trunk) + length)
            sources += range(start + first - 1, start + len(ids) - 1)
            targets += ids[first:]
            kinds += [ANSWER] * (len(ids) - first)
        shapes.append((len(trunk), len(item.branches), length))
    operators = Counter(name for item in trees for name in item.operators)
    lists = {"tokens": tokens, "positions": positions, "sources": sources, "targets": targets, "kinds": kinds}
    return Batch(**{name: torch.tensor(values) for name, values in lists.items()}, trees=shapes, operators=operators)
