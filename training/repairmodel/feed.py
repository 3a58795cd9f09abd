"""Batches made ahead of time: worker processes draw and pack them, a thread moves them to the device, the loop takes.

A batch crosses between processes as one block of bytes (about 12 bytes a token). Tensors in a multiprocessing queue
would cross as file descriptors, one exchange with the worker each, which a GPU has to wait for.
"""

import itertools
import multiprocessing
import os
import queue
import threading
from collections.abc import Generator, Iterator
from multiprocessing.connection import Connection

import numpy as np
import torch

from .batches import Batch, Batches

FIELDS = ("tokens", "positions", "sources", "targets", "kinds")
AHEAD = 3
"""Batches that each worker, and the thread, may be ahead of the loop."""


def encode(batch: Batch) -> bytes:
    """One block: the lengths of its six parts, then the parts, all int32. The count of operators stays behind."""
    parts = [getattr(batch, name).numpy().astype(np.int32) for name in FIELDS]
    parts.append(np.array(batch.trees, dtype=np.int32).flatten())
    return np.concatenate([np.array([len(part) for part in parts], dtype=np.int32), *parts]).tobytes()


def decode(block: bytes, device: torch.device) -> Batch:
    """The batch on the device; from pinned memory, without waiting, where that is a GPU."""
    values = torch.frombuffer(bytearray(block), dtype=torch.int32)
    lengths = values[: len(FIELDS) + 1].tolist()
    trees = values[-lengths[-1] :].view(-1, 3).tolist()
    if device.type == "cuda":
        values = values.pin_memory()
    parts = values.to(device, non_blocking=True)[len(FIELDS) + 1 :].long().split(lengths)
    return Batch(**dict(zip(FIELDS, parts, strict=False)), trees=[tuple(tree) for tree in trees])


def feed(batches: Batches, start: int, stride: int, workers: int, device: torch.device) -> Generator[Batch, None, None]:
    """Batches start, start + stride, ... in order, on the device; without workers each is made when it is asked for."""
    if not workers:
        yield from (batches(index).to(device) for index in itertools.count(start, stride))
    context = multiprocessing.get_context("fork")
    pipes, processes = [], []
    for number in range(workers):
        ours, theirs = context.Pipe(duplex=False)
        first = start + number * stride
        process = context.Process(target=_work, args=(batches, first, stride * workers, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    ready: queue.Queue[Batch | None] = queue.Queue(maxsize=AHEAD)
    stop = threading.Event()
    mover = threading.Thread(target=_move, args=(itertools.cycle(pipes), ready, device, stop), daemon=True)
    mover.start()
    try:
        while (batch := ready.get()) is not None:
            yield batch
        raise RuntimeError("a process that makes batches has ended")
    finally:
        stop.set()
        for process in processes:
            process.terminate()
            process.join()
        mover.join()


def _move(
    pipes: Iterator[Connection], ready: "queue.Queue[Batch | None]", device: torch.device, stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            batch: Batch | None = decode(next(pipes).recv_bytes(), device)
        except (EOFError, OSError):
            batch = None
        while not stop.is_set():
            try:
                ready.put(batch, timeout=0.2)
                break
            except queue.Full:
                continue
        if batch is None:
            return


def _work(batches: Batches, start: int, stride: int, pipe: Connection) -> None:
    torch.set_num_threads(1)
    parent = os.getppid()
    made: queue.Queue[bytes] = queue.Queue(maxsize=AHEAD)
    threading.Thread(target=_send, args=(made, pipe, parent), daemon=True).start()
    for index in itertools.count(start, stride):
        made.put(encode(batches(index)))


def _send(made: "queue.Queue[bytes]", pipe: Connection, parent: int) -> None:
    """Hands on what is made; ends the worker when nobody reads any more."""
    while True:
        block = made.get()
        try:
            pipe.send_bytes(block)
        except (BrokenPipeError, OSError):
            os._exit(0)
