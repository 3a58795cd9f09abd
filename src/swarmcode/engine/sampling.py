"""Draws tokens from logits: constraint, top-k, top-p, min-p, temperature, in this order.

Every row is reduced by itself, so that what is drawn from a row depends on that row alone and not on the batch around
it; with thresholds and partitions, so that a vocabulary of 160,000 costs no full sort. Sequences that read the same
row under the same rules share the work.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmcode.engine.protocol import Sampling

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

_BLOCK = 512
"""Weights that are summed at once: a long running sum is taken over blocks, and then within one."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One token that is to be drawn."""

    row: int
    """Index into the rows of logits."""
    sampling: Sampling
    random: np.random.Generator
    """Of this sequence alone; goes on by one number, also at temperature 0."""
    mask: NDArray[np.bool_] | None = None
    """Shape (vocabulary,): True where the token may be drawn, at least once. None: all may."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn."""

    token: int
    logprob: float
    """Natural log-probability under the mask, at temperature 1, before top-k, top-p and min-p. Not finite where the
    logits are not."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The tokens that may be drawn from a row, and with which weight."""

    tokens: Indices | None
    """None: candidate i is token i."""
    logits: Floats
    total: float
    """Log of the sum of the exponentials of all logits under the mask."""
    weights: Floats
    """At the given temperature; empty at temperature 0."""
    blocks: NDArray[np.float64]
    """Running sums of the blocks of `weights`."""


def draw(rows: Sequence[Floats], picks: Sequence[Pick]) -> list[Drawn]:
    """One token for each pick; `rows` have shape (vocabulary,)."""
    shared: dict[tuple[int, Sampling], _Candidates] = {}
    drawn = []
    for pick in picks:
        key = (pick.row, pick.sampling)
        if pick.mask is not None:
            candidates = _candidates(rows[pick.row], pick.sampling, pick.mask)
        elif key in shared:
            candidates = shared[key]
        else:
            candidates = shared[key] = _candidates(rows[pick.row], pick.sampling, None)
        drawn.append(_draw(candidates, pick.random.random()))
    return drawn


def _draw(candidates: _Candidates, uniform: float) -> Drawn:
    if not math.isfinite(candidates.total):
        return Drawn(0, math.nan)
    index = _locate(candidates, uniform) if candidates.weights.size else int(candidates.logits.argmax())
    token = index if candidates.tokens is None else int(candidates.tokens[index])
    logprob = float(candidates.logits[index]) - candidates.total
    return Drawn(token, 0.0 if logprob > 0 else logprob)


def _locate(candidates: _Candidates, uniform: float) -> int:
    """The candidate at which the running sum of the weights passes `uniform` of their total."""
    target = uniform * float(candidates.blocks[-1])
    block = min(int(np.searchsorted(candidates.blocks, target, side="right")), candidates.blocks.size - 1)
    before = float(candidates.blocks[block - 1]) if block else 0.0
    within = np.cumsum(candidates.weights[block * _BLOCK : (block + 1) * _BLOCK], dtype=np.float64)
    index = int(np.searchsorted(within, target - before, side="right"))
    if index == within.size:  # rounding: the last one that has any weight
        index = int(np.searchsorted(within, within[-1]))
    return block * _BLOCK + index


def _candidates(row: Floats, sampling: Sampling, mask: NDArray[np.bool_] | None) -> _Candidates:
    tokens = None if mask is None else np.flatnonzero(mask)
    logits = row if tokens is None else row[tokens]
    top = logits.max()
    with np.errstate(invalid="ignore"):  # infinite logits show in the total
        weights = logits - top
    np.exp(weights, out=weights)
    total = float(top) + float(np.log(weights.sum()))
    kept = _kept(weights, sampling)
    if kept is not None:
        tokens, logits, weights = kept if tokens is None else tokens[kept], logits[kept], weights[kept]
    if sampling.temperature == 0.0:
        weights = weights[:0]
    elif sampling.temperature != 1.0:
        weights = (logits - top) / np.float32(sampling.temperature)
        np.exp(weights, out=weights)
    starts = np.arange(0, weights.size, _BLOCK)
    return _Candidates(tokens, logits, total, weights, np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64))


def _kept(weights: Floats, sampling: Sampling) -> Indices | None:
    """Which candidates top-k, top-p and min-p leave, in no particular order; None: all. The largest weight is 1."""
    if 0 < sampling.top_k < weights.size:
        likeliest = np.argpartition(weights, weights.size - sampling.top_k)[weights.size - sampling.top_k :]
        within = _likely(weights[likeliest], sampling)
        return likeliest if within is None else likeliest[within]
    return _likely(weights, sampling)


def _likely(weights: Floats, sampling: Sampling) -> Indices | None:
    """Which candidates top-p (https://arxiv.org/abs/1904.09751) and then min-p leave; None: all.

    Top-p takes the heaviest until their share is reached. Those below an equal part of what it leaves out cannot be
    among them, and min-p drops the same few whether it comes before or after; so only what is above both is sorted.
    """
    if sampling.top_p >= 1.0 and sampling.min_p <= 0.0:
        return None
    total = float(weights.sum())
    left_out = max(0.0, 1.0 - sampling.top_p) * total / weights.size
    heavy = np.flatnonzero(weights >= max(left_out, sampling.min_p * float(weights.max())))
    if sampling.top_p >= 1.0:
        return heavy
    heavy = heavy[np.argsort(-weights[heavy], kind="stable")]
    sums = np.cumsum(weights[heavy], dtype=np.float64)
    return heavy[: int(np.searchsorted(sums, sampling.top_p * total)) + 1]
