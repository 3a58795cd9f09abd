"""From functions to batches of packed trees: one trunk (the context) and several branches (differently broken lines and
fixes).

A context costs 5-10 times the tokens of a question with its answer, so several faults of one line share it: a branch
attends to the trunk and to itself, positions go on from the trunk's end, and the model sees exactly what it sees at
inference.

A batch is a pure function of (corpus, seed, index): resuming needs no state but the index.
"""

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
SHORT = 14
"""A function of fewer lines than this is drawn in proportion to its lines."""


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

    @property
    def tree_lengths(self) -> list[int]:
        """Tokens of each tree."""
        return [trunk + count * length for trunk, count, length in self.trees]

    def to(self, device: torch.device) -> "Batch":
        """On another device."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("tokens", "positions", "sources", "targets", "kinds")
        }
        return Batch(**moved, trees=self.trees, operators=self.operators)

    def padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """For attention in one call: rows [B, T] of token indices, mask [B, 1, T, T], and where each token went in [B *
        T].

        Cached by the caller's batch; the padding attends to itself, so that no row of the mask is empty.
        """
        global _last_padded
        if _last_padded is None or _last_padded[0] is not self.tokens:
            _last_padded = (self.tokens, self._pad())
        return _last_padded[1]

    def _pad(self) -> tuple[Tensor, Tensor, Tensor]:
        longest = -(-max(self.tree_lengths) // 8) * 8
        rows = torch.zeros(len(self.trees), longest, dtype=torch.long)
        mask = torch.eye(longest, dtype=torch.bool).repeat(len(self.trees), 1, 1)
        flat, start = [], 0
        for row, (trunk, count, length) in enumerate(self.trees):
            size = trunk + count * length
            rows[row, :size] = torch.arange(start, start + size)
            owner = torch.cat(
                (torch.zeros(trunk, dtype=torch.long), torch.arange(1, count + 1).repeat_interleave(length))
            )
            sees = (owner[None, :] == 0) | (owner[None, :] == owner[:, None])
            mask[row, :size, :size] = sees & torch.ones(size, size, dtype=torch.bool).tril()
            flat.append(row * longest + torch.arange(size))
            start += size
        device = self.tokens.device
        return rows.to(device), mask.unsqueeze(1).to(device), torch.cat(flat).to(device)


_last_padded: tuple[Tensor, tuple[Tensor, Tensor, Tensor]] | None = None


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
        return pack(found, rng, self.lm)

    def _draw(self, rng: random.Random) -> Code:
        while True:
            text = rng.choice(self.texts)
            if rng.random() * SHORT > text.count("\n"):  # short functions are many and teach little
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
