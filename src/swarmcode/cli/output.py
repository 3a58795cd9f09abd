"""What goes to standard output, or to a file in its place: all of it, or an error that says so."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from swarmcode.cli.boundary import say
from swarmcode.errors import StateError
from swarmcode.report.terminal import clean


def answer(line: str) -> None:
    """A line on standard output. Raises `StateError` where it cannot be written, and `BrokenPipeError`, which ends a
    command quietly: whoever reads has seen enough."""
    try:
        with _last_words():
            typer.echo(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StateError(
            f"standard output cannot be written: {error.strerror}", "send it to a place that can be written"
        ) from error


def write_result(text: str, output: Path | None, run: str) -> None:
    """Writes a patch or a report to its place; a file is replaced whole or not at all. Raises `StateError`."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        if output is None:
            _to_stdout(data)
        elif output.exists() and not output.is_file():
            output.write_bytes(data)  # a pipe or a device cannot be replaced
        else:
            _replace(output.resolve(), data)
    except OSError as error:
        place = output or "standard output"
        raise StateError(
            f"the result could not be written to {place}: {error.strerror}", f"it is kept: swarmcode runs {run} --patch"
        ) from error


def _to_stdout(data: bytes) -> None:
    if sys.stdout is None:
        raise BrokenPipeError(0, "it is closed")
    if sys.stdout.isatty():
        shown = clean(data.decode("utf-8", "replace")).encode()
        if shown != data:
            say("swarmcode: the patch holds characters that a terminal must not see; --output has them all")
        data = shown
    with _last_words():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def _last_words() -> Iterator[None]:
    """Whatever is left in the buffer of a broken pipe must not break the interpreter's end."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def _replace(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(name, file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask())
        os.replace(name, file)
    except OSError:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
