"""Train the repair model: on one CPU core, on several through torchrun, or on GPUs.

    python -m repairmodel.train --data DIR --out DIR [--steps N --decay-from N ...]       start
    python -m repairmodel.train --data DIR --out DIR --from FILE.gguf [...]               start from an exported file
    python -m repairmodel.train --data DIR --out DIR --resume [--steps N ...]             go on from the last checkpoint
    torchrun --nproc-per-node 2 -m repairmodel.train --threads 1 [...]                    any of these on two cores

The learning rate warms up, stays, and falls linearly to zero from `--decay-from` to `--steps`, or over the last
`--decay-minutes` of `--minutes`; all may be changed on resuming, so that a run can be ended early with its decay. Batch
i is a pure function of the seed and i, so resuming is exact (with as many ranks as before). Progress is written to
OUT/log.jsonl and to standard error, checkpoints to OUT/last.pt.
"""

import argparse
import json
import math
import random
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checkpoint
from .batches import ANSWER, Batch, Batches
from .corpus import HERE, load
from .feed import feed
from .model import RepairModel
from .optim import optimizers
from .prompt import Codec
from .ranks import Ranks
from .shape import Shape
from .weights import read

DECISIVE = frozenset("seed batch trees branches lm lm_weight muon adam embedding weight_decay bias_rate warm".split())
"""Arguments that a resumed run must repeat to go on as if never stopped; `--steps` and `--decay-from` may change."""


def losses(model: RepairModel, batch: Batch, lm_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """(loss to minimise, mean loss of answer tokens, mean loss of context tokens)."""
    hidden = model(batch)
    logits = model.logits(hidden[batch.sources]).float()
    each = F.cross_entropy(logits, batch.targets, reduction="none")
    answer = batch.kinds == ANSWER
    weights = torch.where(answer, 1.0, lm_weight)
    loss = (each * weights).sum() / weights.sum()
    return loss, each[answer].mean().detach(), each[~answer].mean().detach()


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
        ends = (targets == 1).nonzero().flatten().tolist()  # each answer closes with END
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
        self.batches = Batches(
            texts["train"],
            codec,
            seed=args.seed,
            tokens=args.batch,
            trees=args.trees,
            branches=args.branches,
            lm=args.lm,
        )
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
        made = optimizers(
            model, muon=args.muon, adam=args.adam, embedding=args.embedding, decay=args.weight_decay, ranks=self.ranks
        )
        if weights:
            model.load_state_dict(weights)
        if state:
            checkpoint.restore(state, model, made)
            self.step, self.tokens = state["step"], state["tokens"]
            for name, before in state["arguments"].items():
                if name in DECISIVE and before != str(getattr(args, name)):
                    print(f"changed since the checkpoint: --{name} {before} -> {getattr(args, name)}", file=sys.stderr)
        return model, made

    def learn(self, batch: Batch, minutes: float) -> tuple[Tensor, Tensor, Tensor, float]:
        """One step: (loss of answers, of context, largest load of an expert over the mean, share of the peak rate)."""
        args = self.args
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            loss, answer, context = losses(self.model, batch, args.lm_weight)
        loss.backward()
        clock = torch.tensor([minutes], device=self.device)
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
        return answer, context, worst, share

    def save(self, path: Path) -> None:
        """A checkpoint, by the first rank."""
        if self.ranks.first:
            checkpoint.save(
                path, self.model, self.optimizers, step=self.step, tokens=self.tokens, arguments=vars(self.args)
            )


def sizes(args: argparse.Namespace) -> dict[str, Any]:
    """The sizes of the model that were given as flags."""
    return {f.name: getattr(args, f.name) for f in fields(Shape) if getattr(args, f.name, None) is not None}


def train(args: argparse.Namespace) -> None:
    """The loop."""
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    run = Run(args)
    if run.ranks.first:
        parameters, active = sum(p.numel() for p in run.model.parameters()), run.model.shape.active_parameters()
        print(
            f"{parameters / 1e6:.2f}M parameters, {active / 1e6:.2f}M active, {run.ranks.world} x {run.device}, "
            f"from step {run.step}",
            file=sys.stderr,
        )
    recent: list[Tensor] = []
    started, at = time.monotonic(), run.tokens
    start, stride = run.step * run.ranks.world + run.ranks.rank, run.ranks.world
    source = feed(run.batches, start, stride, args.workers, run.device)
    share = 1.0
    for batch in source:
        if run.step >= args.steps or share == 0:
            break
        answer, context, worst, share = run.learn(batch, (time.monotonic() - started) / 60)
        recent.append(torch.stack((answer, context, worst)))
        if run.step % args.log_every == 0:
            answer, context, worst = torch.stack(recent).nanmean(0).tolist()
            recent.clear()
            if not math.isfinite(answer):
                raise FloatingPointError(f"the loss is {answer} at step {run.step}")
            if run.ranks.first:
                row: dict[str, float] = {
                    "step": run.step,
                    "tokens": run.tokens,
                    "answer": answer,
                    "context": context,
                    "rate": share,
                    "load": worst,
                    "tokens_per_second": (run.tokens - at) / (time.monotonic() - started),
                }
                if run.step % args.check_every == 0:
                    row |= validate(run.model, run.checks, run.device)
                with (args.out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(row) + "\n")
                print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr, flush=True)
        if run.step % args.save_every == 0:
            run.save(args.out / "last.pt")
        if args.keep_every and run.step % args.keep_every == 0:
            run.save(args.out / f"step-{run.step}.pt")
    source.close()
    run.save(args.out / "last.pt")
    if run.ranks.first:
        result = {"step": run.step, "tokens": run.tokens, **validate(run.model, run.checks, run.device)}
        print(json.dumps(result), file=sys.stderr)
    run.ranks.leave()


def parser() -> argparse.ArgumentParser:
    """All flags, with the sizes of the model as flags of their own."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, default=HERE / "data")
    p.add_argument("--out", type=Path, default=HERE / "runs" / "default")
    p.add_argument("--resume", action="store_true")
    p.add_argument(
        "--from", dest="start", type=Path, help="a GGUF file of `export` whose weights and sizes to start with"
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default=None)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--steps", type=int, default=3000)
    p.add_argument(
        "--minutes", type=float, default=0, help="with --decay-minutes: end after so long, whatever the step"
    )
    p.add_argument("--decay-minutes", type=float, default=0, help="the rate falls over the last so many of --minutes")
    p.add_argument("--decay-from", type=int, default=1500)
    p.add_argument("--warm", type=int, default=40)
    p.add_argument("--batch", type=int, default=8192, help="tokens of a batch")
    p.add_argument("--trees", type=int, default=2, help="places per drawn function")
    p.add_argument("--branches", type=int, default=6, help="faults per place")
    p.add_argument("--lm", type=float, default=0.5, help="share of context tokens that are predicted")
    p.add_argument("--lm-weight", type=float, default=0.25)
    p.add_argument("--muon", type=float, default=0.02, help="peak learning rate of matrices; 0: Adam for them too")
    p.add_argument("--adam", type=float, default=3e-3)
    p.add_argument("--embedding", type=float, default=5e-3)
    p.add_argument("--weight-decay", type=float, default=0.0)
    p.add_argument("--bias-rate", type=float, default=0.004)
    p.add_argument("--log-every", type=int, default=10)
    p.add_argument("--check-every", type=int, default=100)
    p.add_argument("--checks", type=int, default=3)
    p.add_argument("--save-every", type=int, default=100)
    p.add_argument("--keep-every", type=int, default=0)
    for field in fields(Shape):
        if field.name != "vocabulary":
            p.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=None)
    return p


def main() -> None:
    """Command line."""
    args = parser().parse_args()
    random.seed(args.seed)
    train(args)


if __name__ == "__main__":
    main()
