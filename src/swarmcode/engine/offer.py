"""What a person wants of a repository of the Hugging Face hub, what it offers, and which of that is meant. Pure.

What the hub says is untrusted: names are checked before they become paths.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from swarmcode.errors import ModelError, UsageError

_WANTED = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<quant>[\w.-]+)|/(?P<file>.+\.gguf))?", re.ASCII)
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")
_QUANT = re.compile(r"(?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|NVFP4|BF16|F16|F32)", re.I | re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTED = 40


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
        stem = model_of(self.files[0].name)
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


def _fits(want: Wanted, offer: Offer) -> bool:
    if want.file:
        return want.file in {file.name for file in offer.files}
    if want.quant:
        delimited = rf"(?<![A-Za-z0-9]){re.escape(want.quant)}(?![A-Za-z0-9_])"
        stem = PurePosixPath(model_of(offer.files[0].name)).name
        return offer.label.lower() == want.quant.lower() or re.search(delimited, stem, re.I) is not None
    return True


def _call(offer: Offer, among: list[Offer]) -> str:
    """How it is asked for: by its quantization, unless others have the same."""
    label = offer.label
    if "/" not in label and sum(label in model_of(each.files[0].name) for each in among) == 1:
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


def model_of(name: str) -> str:
    """What a file is, or is a part of: its path without its ending, and without which part it is."""
    return _SPLIT.sub("", name.removesuffix(".gguf"))
