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

import torch
from torch import Tensor

from .packages import HERE
from .run import Run
from .shape import Shape


def train(args: argparse.Namespace) -> None:
    """The loop."""
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    run = Run(args)
    if run.ranks.first:
        print(run, file=sys.stderr)
    recent: list[Tensor] = []
    started, at, share = time.monotonic(), run.tokens, 1.0
    source = run.source()
    for batch in source:
        if run.step >= args.steps or share == 0:
            break
        losses, share = run.learn(batch, (time.monotonic() - started) / 60)
        recent.append(losses)
        if run.step % args.log_every == 0:
            log(run, recent, rate=share, tokens_per_second=(run.tokens - at) / (time.monotonic() - started))
            recent.clear()
        if run.step % args.save_every == 0:
            run.save(args.out / "last.pt")
        if args.keep_every and run.step % args.keep_every == 0:
            run.save(args.out / f"step-{run.step}.pt")
    source.close()
    run.save(args.out / "last.pt")
    if run.ranks.first:
        print(json.dumps({"step": run.step, "tokens": run.tokens, **run.validate()}), file=sys.stderr)
    run.ranks.leave()


def log(run: Run, recent: list[Tensor], **more: float) -> None:
    """A line of the log. Raises FloatingPointError, on every rank, where the loss is no number any more."""
    answer, context, load = torch.stack(recent).mean(0).tolist()
    if not math.isfinite(answer):
        raise FloatingPointError(f"the loss is {answer} at step {run.step}")
    if run.ranks.first:
        row = {"step": run.step, "tokens": run.tokens, "answer": answer, "context": context, "load": load, **more}
        if run.step % run.args.check_every == 0:
            row |= run.validate()
        with (run.args.out / "log.jsonl").open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        print(" ".join(f"{name} {value:.4g}" for name, value in row.items()), file=sys.stderr, flush=True)


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
    p.add_argument("--bias-rate", type=float, default=0.03)
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
