"""The Hugging Face hub, through huggingface_hub: what a repository has, and the bytes of a file.

Not covered: files so large that the hub hands them out through its own transfer protocol alone (50 GB and more in one
file; models of that size come in several).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, cast

from swarmcode.engine.offer import Offer, RemoteFile, Wanted, model_of
from swarmcode.errors import ModelError, PassingFault, SurroundingsError

Progress = Callable[[str, int, int], None]
"""Called with what is done (`fetching` or `checking` and a file's name), bytes done, bytes in all."""


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
            models[model_of(name)].append(RemoteFile(name=name, size=each.size or 0, sha256=named))
    offers = [
        Offer(repo=want.repo, revision=info.sha or "main", files=tuple(sorted(files, key=lambda file: file.name)))
        for _, files in sorted(models.items())
    ]
    if not offers:
        raise ModelError(
            f"{want.repo} has no GGUF file", "look for a repository of the same model with GGUF in its name"
        )
    return offers


def download(offer: Offer, file: RemoteFile, stream: Any, progress: Progress, endpoint: str | None) -> None:
    """Appends what the stream lacks of the file. Raises as `ask`, and `ModelError` for one too large."""
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
