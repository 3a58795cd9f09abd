"""Fetches a model from the Hugging Face hub into the state directory.

What is there is asked first, so a choice is made, and the room on the disk is known, before anything is fetched. A file
grows beside its place under a name that has its checksum in it, so a download that broke off goes on where it stopped,
and never with another file's bytes; it takes its place once it has the size and the SHA-256 that the hub names.
"""

import fcntl
import hashlib
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from swarmcode.engine import gguf, hub
from swarmcode.engine.hub import Progress
from swarmcode.engine.offer import Offer, RemoteFile
from swarmcode.errors import PassingFault, StateError

_BLOCK = 1 << 20


def fetch(offer: Offer, home: Path, progress: Progress, endpoint: str | None = None) -> Path:
    """Brings the files to this machine, as far as they are not here yet; where the first of them is.

    Raises `StateError` where the disk has no room or cannot be written, `PassingFault` where the connection broke or
    what came is not what the hub names, and as `hub.ask`.
    """
    places = _places(offer, home)
    folder = places[0].parent
    try:
        for place in places:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        missing = sum(_missing(file, place) for file, place in zip(offer.files, places, strict=True))
        _check_room(folder, missing)
        for file, place in zip(offer.files, places, strict=True):
            _fetch_one(offer, file, place, progress, endpoint)
    except OSError as error:
        raise StateError(f"{folder} cannot be written: {error.strerror or error}", "see SWARMCODE_HOME") from error
    return places[0]


def target(offer: Offer, home: Path) -> Path:
    """Where its first file will be."""
    return _places(offer, home)[0]


def delete(path: Path) -> None:
    """Removes the files of a model that was fetched, what broke off of them, and a folder that is empty then.

    Raises `StateError`.
    """
    names = {file.name for file in gguf.files(path)}
    try:
        for file in path.parent.iterdir():
            if file.name in names or re.sub(r"\.[0-9a-f]{16}\.part$", "", file.name) in names:
                file.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"{path} cannot be deleted: {error.strerror}", "delete it yourself") from error
    try:
        path.parent.rmdir()
    except OSError:
        pass  # other models of the repository are in it


def _places(offer: Offer, home: Path) -> list[Path]:
    folder = home / "models" / offer.repo.replace("/", "--")
    return [folder / file.name for file in offer.files]


def _fetch_one(offer: Offer, file: RemoteFile, place: Path, progress: Progress, endpoint: str | None) -> None:
    if place.is_file() and place.stat().st_size == file.size and _sha256(place, file, progress) == file.sha256:
        return
    part = _part(file, place)
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(f"{part} is being fetched by another process", "wait for its end") from error
        hub.download(offer, file, stream, progress, endpoint)
        stream.flush()
        if _sha256(part, file, progress) != file.sha256:
            part.unlink()
            raise PassingFault(f"{file.name} came with another checksum than the hub names", "pull it again")
        os.replace(part, place)


def _part(file: RemoteFile, place: Path) -> Path:
    return place.with_name(f"{place.name}.{file.sha256[:16]}.part")


def _missing(file: RemoteFile, place: Path) -> int:
    """Bytes that are not on this machine yet."""
    if place.is_file() and place.stat().st_size == file.size:
        return 0
    part = _part(file, place)
    return file.size - (min(part.stat().st_size, file.size) if part.is_file() else 0)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StateError(
            f"{folder} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are to come",
            "free some, or set SWARMCODE_HOME to a larger disk",
        )


def _sha256(path: Path, file: RemoteFile, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress(f"checking {PurePosixPath(file.name).name}", done, file.size)
    return digest.hexdigest()
