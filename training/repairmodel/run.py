"""A model in training: one step, its learning rate, its loss on held-out projects, its checkpoints."""

import argparse
import sys
from collections.abc import Generator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checkpoint
from .batches import ANSWER, Batch, Batches
from .corpus import load
from .feed import feed
from .model import RepairModel
from .optim import optimizers
from .prompt import END, Codec
from .ranks import Ranks
from .shape import Shape
from .weights import read

DECISIVE = frozenset("seed batch trees branches lm lm_weight muon adam embedding weight_decay bias_rate warm".split())
"""Arguments that a resumed run must repeat to go on as if never stopped; `--steps` and `--decay-from` may change."""


def losses(model: RepairModel, batch: Batch, lm_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """(loss to minimise, mean loss of answer tokens, mean loss of context tokens)."""
    hidden = model(batch)
    logits = model.logits(hidden.index_select(0, batch.sources)).float()
    each = F.cross_entropy(logits, batch.targets, reduction="none")
    answer = (batch.kinds == ANSWER).float()  # sums, no selections: a GPU need not say how many there are
    weights = answer + lm_weight * (1 - answer)
    loss = (each * weights).sum() / weights.sum()
    each = each.detach()
    return loss, (each * answer).sum() / answer.sum(), (each * (1 - answer)).sum() / (1 - answer).sum()


def rate(step: int, minutes: float, args: argparse.Namespace) -> float:
    """Share of the peak learning rate at a step, `minutes` after the start of the process."""
    share = min(1.0, (step + 1) / args.warm, max(0.0, (args.steps - step) / max(1, args.steps - args.decay_from)))
    if args.minutes and args.decay_minutes:
        share = min(share, max(0.0, (args.minutes - minutes) / args.decay_minutes))
    return share


@torch.no_grad()
def validate(model: RepairModel, batches: list[Batch], device: torch.device) -> dict[str, float]:
    """On held-out projects: mean loss of answer tokens, and the share of answers that are the most probable one, token
    by token.
    """
    model.eval()
    total, right, answers, count = 0.0, 0, 0, 0
    for batch in (b.to(device) for b in batches):
        chosen = batch.kinds == ANSWER
        logits = model.logits(model(batch)[batch.sources[chosen]]).float()
        targets = batch.targets[chosen]
        total += float(F.cross_entropy(logits, targets, reduction="sum"))
        count += len(targets)
        hit = logits.argmax(-1) == targets
        ends = (targets == END).nonzero().flatten().tolist()  # each answer closes with END
        start = 0
        for end in ends:
            right += bool(hit[start : end + 1].all())
            answers += 1
            start = end + 1
    model.train()
    return {"held_out_loss": total / count, "held_out_exact": right / answers}


class Run:
    """A model in training, from its arguments: data, optimizers, checkpoint, and how far it is."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.ranks = Ranks.join(self.device)
        if self.device.type == "cuda":
            self.device = torch.device("cuda", self.ranks.rank)
            torch.cuda.set_device(self.device)
        args.out.mkdir(parents=True, exist_ok=True)
        codec = Codec(args.data / "tokenizer.json")
        texts = {use: [record["text"] for record in load(args.data / f"{use}.jsonl")] for use in ("train", "held-out")}
        held_out = Batches(texts["held-out"], codec, seed=1, tokens=args.batch, trees=1, branches=1, lm=0.0)
        self.checks = [held_out(i) for i in range(args.checks)]
        drawing = {"seed": args.seed, "trees": args.trees, "branches": args.branches, "lm": args.lm}
        self.batches = Batches(texts["train"], codec, tokens=args.batch, **drawing)
        self.step, self.tokens = 0, 0
        self.model, self.optimizers = self._start(codec.vocabulary)

    def _start(self, vocabulary: int) -> tuple[RepairModel, list[torch.optim.Optimizer]]:
        args, weights, state = self.args, None, None
        shape = Shape(**sizes(args), vocabulary=vocabulary)
        if args.resume:
            state = checkpoint.load(args.out / "last.pt", self.device)
            shape = Shape(**state["shape"])
        elif args.start:
            shape, weights = read(args.start)
        if shape.vocabulary != vocabulary:
            raise ValueError(f"the tokenizer has {vocabulary} ids, the weights {shape.vocabulary}")
        model = RepairModel(shape).to(self.device)
        rates = {"muon": args.muon, "adam": args.adam, "embedding": args.embedding, "decay": args.weight_decay}
        made = optimizers(model, **rates, ranks=self.ranks)
        if weights:
            model.load_state_dict(weights)
        if state:
            checkpoint.restore(state, model, made)
            self.step, self.tokens = state["step"], state["tokens"]
            self._warn(state["arguments"])
        return model, made

    def _warn(self, before: dict[str, str]) -> None:
        for name, value in before.items():
            if name in DECISIVE and value != str(getattr(self.args, name)):
                print(f"changed since the checkpoint: --{name} {value} -> {getattr(self.args, name)}", file=sys.stderr)

    def __str__(self) -> str:
        parameters, active = sum(p.numel() for p in self.model.parameters()), self.model.shape.active_parameters()
        return (
            f"{parameters / 1e6:.2f}M parameters, {active / 1e6:.2f}M active, {self.ranks.world} x {self.device}, "
            f"step {self.step}"
        )

    def source(self) -> Generator[Batch, None, None]:
        """This rank's batches from the current step on."""
        start, stride = self.step * self.ranks.world + self.ranks.rank, self.ranks.world
        return feed(self.batches, start, stride, self.args.workers, self.device)

    def learn(self, batch: Batch, minutes: float) -> tuple[Tensor, float]:
        """One step, `minutes` after the start: (loss of answers, loss of context, largest load of an expert over the
        mean load) on the device, and the share of the peak rate.
        """
        args = self.args
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            loss, answer, context = losses(self.model, batch, args.lm_weight)
        loss.backward()
        clock = torch.full((1,), minutes, device=self.device)
        experts = self.model.experts()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.ranks.average([*gradients, *(layer.load for layer in experts), clock])
        share = rate(self.step, float(clock) if self.ranks.world > 1 else minutes, args)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        worst = torch.stack([layer.steer(args.bias_rate * share) for layer in experts]).max()
        self.step, self.tokens = self.step + 1, self.tokens + len(batch.tokens) * self.ranks.world
        return torch.stack((answer, context, worst)), share

    def validate(self) -> dict[str, float]:
        """See `validate`."""
        return validate(self.model, self.checks, self.device)

    def save(self, path: Path) -> None:
        """A checkpoint, by the first rank."""
        if self.ranks.first:
            checkpoint.save(
                path, self.model, self.optimizers, step=self.step, tokens=self.tokens, arguments=vars(self.args)
            )


def sizes(args: argparse.Namespace) -> dict[str, Any]:
    """The sizes of the model that were given as flags."""
    return {f.name: getattr(args, f.name) for f in fields(Shape) if getattr(args, f.name, None) is not None}
