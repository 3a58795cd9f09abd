"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .model import RepairModel


def save(
    path: Path,
    model: RepairModel,
    optimizers: list[torch.optim.Optimizer],
    *,
    step: int,
    tokens: int,
    arguments: Mapping[str, object],
) -> None:
    """Write aside, then rename: the file is complete, or the one before."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
        "tokens": tokens,
        "shape": model.shape.as_dict(),
        "arguments": {name: str(value) for name, value in arguments.items()},
    }
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    aside.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """What `save` wrote."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def restore(state: dict[str, Any], model: RepairModel, optimizers: list[torch.optim.Optimizer]) -> None:
    """Put the state back; the peaks of the learning rates stay as they were asked for, not as they were saved."""
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        peaks = [group["peak"] for group in optimizer.param_groups]
        optimizer.load_state_dict(saved)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["peak"] = peak
