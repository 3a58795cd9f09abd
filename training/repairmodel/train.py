"""Train the repair model, on CPU or on one GPU.

    python -m repairmodel.train --data DIR --out DIR [--steps N --decay-from N ...]     start python -m
    repairmodel.train --data DIR --out DIR --resume [--steps N ...]           go on from the newest checkpoint, exactly

The learning rate warms up, stays, and falls linearly to zero from `--decay-from` to `--steps`; both may be changed on
resuming, so that a run can be ended early with its decay. Batch i is a pure function of the seed and i, so resuming is
exact. Progress is written to OUT/log.jsonl and to standard error; checkpoints to OUT/last.pt (written aside, then
renamed).
"""

import argparse
import itertools
import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Generator
from dataclasses import fields
from pathlib import Path
from queue import Full
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import ANSWER, Batch, Batches
from .corpus import HERE, load
from .model import RepairModel, Shape
from .optim import optimizers
from .prompt import Codec

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


def rate(step: int, *, warm: int, decay_from: int, steps: int) -> float:
    """Share of the peak learning rate at a step."""
    return min(1.0, (step + 1) / warm, max(0.0, (steps - step) / max(1, steps - decay_from)))


def _produce(batches: Batches, start: int, stride: int, queue: Any) -> None:
    torch.set_num_threads(1)
    parent = os.getppid()
    index = start
    while True:
        batch = batches(index)
        index += stride
        while True:
            try:
                queue.put(batch, timeout=5)
                break
            except Full:
                if os.getppid() != parent:  # an orphan has nobody to work for
                    os._exit(0)


def prefetch(batches: Batches, start: int, workers: int) -> Generator[Batch, None, None]:
    """Batches start, start + 1, ... made by worker processes, in order."""
    context = multiprocessing.get_context("fork")
    queues = [context.Queue(maxsize=4) for _ in range(workers)]
    processes = [
        context.Process(target=_produce, args=(batches, start + number, workers, queue), daemon=True)
        for number, queue in enumerate(queues)
    ]
    for process in processes:
        process.start()
    try:
        for index in itertools.count():
            yield queues[index % workers].get()
    finally:
        for process in processes:
            process.terminate()


def save(
    path: Path, model: RepairModel, made: list[torch.optim.Optimizer], step: int, tokens: int, args: argparse.Namespace
) -> None:
    """A checkpoint that either is complete or is the one before."""
    state = {
        "model": model.state_dict(),
        "optimizers": [o.state_dict() for o in made],
        "step": step,
        "tokens": tokens,
        "shape": model.shape.as_dict(),
        "arguments": {name: str(value) for name, value in vars(args).items()},
    }
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    aside.replace(path)


def restore(path: Path, device: torch.device) -> dict[str, Any]:
    """What `save` wrote."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


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


def train(args: argparse.Namespace) -> None:
    """The loop."""
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    args.out.mkdir(parents=True, exist_ok=True)
    codec = Codec(args.data / "tokenizer.json")
    texts = {use: [record["text"] for record in load(args.data / f"{use}.jsonl")] for use in ("train", "held-out")}
    held_out = Batches(texts["held-out"], codec, seed=1, tokens=args.batch, trees=1, branches=1, lm=0.0)
    checks = [held_out(i) for i in range(args.checks)]

    checkpoint = args.out / "last.pt"
    state = restore(checkpoint, device) if args.resume else None
    sizes = {f.name: getattr(args, f.name) for f in fields(Shape) if getattr(args, f.name, None) is not None}
    model = RepairModel(Shape(**(state["shape"] if state else {**sizes, "vocabulary": codec.vocabulary}))).to(device)
    made = optimizers(model, muon=args.muon, adam=args.adam, embedding=args.embedding, decay=args.weight_decay)
    step, tokens = 0, 0
    if state:
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(made, state["optimizers"], strict=True):
            peaks = [group["peak"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["peak"] = peak
        for name, before in state["arguments"].items():
            if name in DECISIVE and before != str(getattr(args, name)):
                print(f"changed since the checkpoint: --{name} {before} -> {getattr(args, name)}", file=sys.stderr)
        step, tokens = state["step"], state["tokens"]
    parameters = sum(p.numel() for p in model.parameters())
    active = model.shape.active_parameters()
    print(
        f"{parameters / 1e6:.2f}M parameters, {active / 1e6:.2f}M active, {device}, from step {step}",
        file=sys.stderr,
    )

    batches = Batches(
        texts["train"], codec, seed=args.seed, tokens=args.batch, trees=args.trees, branches=args.branches, lm=args.lm
    )
    recent: list[tuple[float, float]] = []
    since, at = time.monotonic(), tokens
    source = prefetch(batches, step, args.workers)
    for batch in source:
        if step >= args.steps or (args.minutes and time.monotonic() - since > args.minutes * 60):
            break
        share = rate(step, warm=args.warm, decay_from=args.decay_from, steps=args.steps)
        batch = batch.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss, answer, context = losses(model, batch, args.lm_weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        worst = max(layer.steer(args.bias_rate * share) for layer in model.experts())
        step, tokens = step + 1, tokens + len(batch.tokens)
        recent.append((float(answer), float(context)))
        if not math.isfinite(recent[-1][0]):
            raise FloatingPointError(f"the loss is {recent[-1][0]} at step {step}")
        if step % args.log_every == 0:
            row: dict[str, float] = {
                "step": step,
                "tokens": tokens,
                "answer": sum(a for a, _ in recent) / len(recent),
                "context": sum(c for _, c in recent) / len(recent),
                "rate": share,
                "load": worst,
                "tokens_per_second": (tokens - at) / (time.monotonic() - since),
            }
            recent.clear()
            if step % args.check_every == 0:
                row |= validate(model, checks, device)
            with (args.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr, flush=True)
        if step % args.save_every == 0:
            save(checkpoint, model, made, step, tokens, args)
        if args.keep_every and step % args.keep_every == 0:
            save(args.out / f"step-{step}.pt", model, made, step, tokens, args)
    source.close()
    save(checkpoint, model, made, step, tokens, args)
    print(json.dumps({"step": step, "tokens": tokens, **validate(model, checks, device)}), file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """All flags, with the sizes of the model as flags of their own."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, default=HERE / "data")
    p.add_argument("--out", type=Path, default=HERE / "runs" / "default")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default=None)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--steps", type=int, default=3000)
    p.add_argument("--minutes", type=float, default=0, help="stop after so long, whatever the step (for comparisons)")
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
    p.add_argument("--bias-rate", type=float, default=0.002)
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
