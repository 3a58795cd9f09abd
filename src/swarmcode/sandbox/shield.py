"""Cleanup that a cancellation delays but does not break off."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def finish(work: Awaitable[T]) -> T:
    """Waits until `work` is done, however often the caller is cancelled; the cancellation is raised afterwards."""
    return await acquire(work, _nothing)


async def acquire(work: Awaitable[T], release: Callable[[T], Awaitable[object]]) -> T:
    """As `finish`, but where the caller was cancelled meanwhile, what came of the work is released first."""
    task = asyncio.ensure_future(work)
    cancelled = await _settle(task)
    if cancelled is None or task.cancelled() or task.exception() is not None:
        return task.result()
    await _settle(asyncio.ensure_future(release(task.result())))
    raise cancelled


async def _settle(task: "asyncio.Future[T]") -> asyncio.CancelledError | None:
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def _nothing(result: object) -> None:
    """There is nothing to release."""
