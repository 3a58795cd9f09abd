"""Fetches a model from the Hugging Face hub into the state directory: the one place that goes to the network for one.

What is there is asked first, so a choice is made, and the room on the disk is known, before anything is fetched. A file
grows beside its place under a name that has its checksum in it, so a download that broke off goes on where it stopped,
and never with another file's bytes; it takes its place once it has the size and the SHA-256 that the hub names. What
the hub says is untrusted: names are checked before they become paths.

Not covered: files so large that the hub hands them out through its own transfer protocol alone (50 GB and more in one
file; models of that size come in several).
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from swarmcode.engine import gguf
from swarmcode.errors import ModelError, PassingFault, StateError, SurroundingsError, UsageError

Progress = Callable[[str, int, int], None]
"""Called with what is done (`fetching` or `checking` and a file's name), bytes done, bytes in all."""

_WANTED = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<quant>[\w.-]+)|/(?P<file>.+\.gguf))?", re.ASCII)
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")
_QUANT = re.compile(r"(?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|NVFP4|BF16|F16|F32)", re.I | re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTED = 40
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks for: `org/repo`, `org/repo:Q4_K_M`, `org/repo/file.gguf`."""

    repo: str
    quant: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of a repository."""

    name: str
    """Its path in the repository."""
    size: int
    sha256: str
    """As the hub names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model of a repository: one GGUF, or all parts of one."""

    repo: str
    revision: str
    """The commit that was looked at; the same one is fetched."""
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def label(self) -> str:
        """Its quantization, as its file name tells it; else that name."""
        stem = _stem(self.files[0].name)
        return next(reversed(_QUANT.findall(PurePosixPath(stem).name)), stem)

    @property
    def source(self) -> str:
        """Where it comes from, for the registry."""
        return f"{self.repo}@{self.revision}/{self.files[0].name}"


def wanted(text: str) -> Wanted:
    """What the argument of `pull` means. Raises `UsageError`."""
    found = _WANTED.fullmatch(text)
    if found is None or ".." in text:
        raise UsageError(f"{text!r} names no model of the hub", "write org/repo, org/repo:Q4_K_M or org/repo/file.gguf")
    return Wanted(repo=found["repo"], quant=found["quant"] or "", file=found["file"] or "")


def ask(want: Wanted, endpoint: str | None = None) -> list[Offer]:
    """The models that the repository has.

    Raises `SurroundingsError` for one that is not there or is closed, `PassingFault` where the hub does not answer.
    """
    with _translated(want.repo):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint, library_name="swarmcode").model_info(want.repo, files_metadata=True, timeout=30)
    models: dict[str, list[RemoteFile]] = defaultdict(list)
    for each in info.siblings or ():
        name = each.rfilename
        if name.endswith(".gguf") and not re.search("mmproj|imatrix", PurePosixPath(name).name, re.I):
            named = each.lfs.sha256 if each.lfs else ""
            models[_stem(name)].append(RemoteFile(name=name, size=each.size or 0, sha256=named))
    offers = [
        Offer(repo=want.repo, revision=info.sha or "main", files=tuple(sorted(files, key=lambda file: file.name)))
        for _, files in sorted(models.items())
    ]
    if not offers:
        raise ModelError(
            f"{want.repo} has no GGUF file", "look for a repository of the same model with GGUF in its name"
        )
    return offers


def choose(want: Wanted, offers: list[Offer]) -> Offer:
    """The one that is meant. Raises `UsageError`, with what there is, where none or several may be."""
    fitting = [offer for offer in offers if _fits(want, offer)]
    if len(fitting) == 1:
        return _checked(fitting[0])
    listed = fitting or offers
    choices = [f"{_call(offer, listed)} ({offer.size / 1e9:.1f} GB)" for offer in listed[:_LISTED]]
    what = want.quant or want.file
    wrong = f"{want.repo} has no {what}" if not fitting else f"{want.repo} has {len(fitting)} models: say which"
    raise UsageError(wrong, f"one of: {', '.join(choices)}")


def fetch(offer: Offer, home: Path, progress: Progress, endpoint: str | None = None) -> Path:
    """Brings the files to this machine, as far as they are not here yet; where the first of them is.

    Raises `StateError` where the disk has no room or cannot be written, `PassingFault` where the connection broke or
    what came is not what the hub names, and as `ask`.
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
        _download(offer, file, stream, progress, endpoint)
        stream.flush()
        if _sha256(part, file, progress) != file.sha256:
            part.unlink()
            raise PassingFault(f"{file.name} came with another checksum than the hub names", "pull it again")
        os.replace(part, place)


def _download(offer: Offer, file: RemoteFile, stream: Any, progress: Progress, endpoint: str | None) -> None:
    """Appends what the stream lacks of the file."""
    have = stream.tell()
    if have > file.size:
        stream.truncate(have := 0)
    with _translated(offer.repo):
        from huggingface_hub import hf_hub_url
        from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
        from huggingface_hub.utils.logging import set_verbosity_error

        if file.size > MAX_HTTP_DOWNLOAD_SIZE:
            raise ModelError(
                f"{file.name} has {file.size / 1e9:.0f} GB in one file, which pull cannot fetch",
                "fetch it with `hf download`, then: swarmcode models add PATH",
            )
        set_verbosity_error()  # type: ignore[no-untyped-call]
        http_get(
            hf_hub_url(offer.repo, file.name, revision=offer.revision, endpoint=endpoint),
            stream,
            resume_size=have,
            headers=build_hf_headers(library_name="swarmcode") | {"Accept-Encoding": "identity"},
            expected_size=file.size,
            tqdm_class=cast(Any, _bar(f"fetching {PurePosixPath(file.name).name}", file.size, progress)),
        )


def _bar(what: str, total: int, progress: Progress) -> type:
    """A class that huggingface_hub takes for tqdm."""

    class Bar:
        def __init__(self, *, initial: int = 0, **_: object) -> None:
            self._done = initial

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, more: float) -> None:
            self._done += int(more)
            progress(what, self._done, total)

    return Bar


@contextmanager
def _translated(repo: str) -> Iterator[None]:
    """What huggingface_hub raises becomes one line of ours; its own lines are many."""
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise SurroundingsError("huggingface_hub is not installed", "pip install huggingface_hub") from error
    transport = cast("type[Exception]", errors.HfHubHTTPError.__bases__[0])  # of httpx, or of the fork that it uses
    try:
        yield
    except errors.GatedRepoError as error:
        raise SurroundingsError(
            f"{repo} is gated: its publisher wants you to accept its terms",
            f"accept them at the hub's page of {repo}, then log in: hf auth login, or set HF_TOKEN",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SurroundingsError(
            f"the hub has no repository {repo}, or shows it to its members only",
            "check its name; if it is private, log in: hf auth login, or set HF_TOKEN",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise SurroundingsError(
            "HF_HUB_OFFLINE forbids to go to the hub", "unset it, or bring the file and: swarmcode models add PATH"
        ) from error
    except errors.HfHubHTTPError as error:
        raise PassingFault(f"the hub answers {error.response.status_code} for {repo}", "try again later") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise PassingFault(
            f"the download from {repo} broke off", "pull it again: it goes on where it stopped"
        ) from error
    except transport as error:
        raise PassingFault(
            f"the hub cannot be reached: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "try again with a network; offline, bring the file and: swarmcode models add PATH",
        ) from error


def _fits(want: Wanted, offer: Offer) -> bool:
    if want.file:
        return want.file in {file.name for file in offer.files}
    if want.quant:
        delimited = rf"(?<![A-Za-z0-9]){re.escape(want.quant)}(?![A-Za-z0-9_])"
        stem = PurePosixPath(_stem(offer.files[0].name)).name
        return offer.label.lower() == want.quant.lower() or re.search(delimited, stem, re.I) is not None
    return True


def _call(offer: Offer, among: list[Offer]) -> str:
    """How it is asked for: by its quantization, unless others have the same."""
    label = offer.label
    if "/" not in label and sum(label in _stem(each.files[0].name) for each in among) == 1:
        return f"{offer.repo}:{label}"
    return f"{offer.repo}/{offer.files[0].name}"


def _checked(offer: Offer) -> Offer:
    """Raises `ModelError` for what cannot be fetched safely."""
    for file in offer.files:
        path = PurePosixPath(file.name)
        if path.is_absolute() or set(path.parts) & {"..", "."} or not file.name.isprintable() or "\\" in file.name:
            raise ModelError(f"{offer.repo} has a file of the unsafe name {file.name!r}", "use another repository")
        if file.size <= 0 or not _SHA256.fullmatch(file.sha256):
            raise ModelError(f"the hub names no size or checksum of {file.name}", "use another repository")
    count = re.search(r"-of-(\d{5})\.gguf$", offer.files[0].name)
    if count and int(count[1]) != len(offer.files):
        raise ModelError(f"{offer.repo} has {len(offer.files)} of the {int(count[1])} parts", "use another repository")
    return offer


def _stem(name: str) -> str:
    """A file's path without its ending, and without which part of a model it is."""
    return _SPLIT.sub("", name.removesuffix(".gguf"))


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
