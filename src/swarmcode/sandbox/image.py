"""An image that holds nothing: mount points, the links that lead into /usr, and the users that a box knows.

Everything else is mounted. Same host and same user give the same bytes, so the image is made once.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

REPOSITORY = "swarmcode/host"
FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp", "usr", "var", "var/tmp")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as `docker load` takes it."""

    tag: str
    archive: bytes


def build(links: Mapping[str, str], files: Mapping[str, str]) -> Image:
    """An image of `FOLDERS`, of links (place -> target) and of small files (place -> content)."""
    layer = _layer(links, files)
    digest = hashlib.sha256(layer).hexdigest()
    tag = f"{REPOSITORY}:{digest[:16]}"
    machine = platform.machine()
    config = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    members = {
        "layer.tar": layer,
        "config.json": json.dumps(config, sort_keys=True).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            _add(archive, name, content=content)
    return Image(tag=tag, archive=buffer.getvalue())


def _layer(links: Mapping[str, str], files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in FOLDERS:
            _add(archive, folder)
        for place, target in sorted(links.items()):
            _add(archive, place.lstrip("/"), target=target)
        for place, content in sorted(files.items()):
            _add(archive, place.lstrip("/"), content=content.encode())
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, *, content: bytes | None = None, target: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.mode = 0o755 if content is None else 0o644
    member.type = tarfile.REGTYPE if content is not None else tarfile.SYMTYPE if target else tarfile.DIRTYPE
    member.linkname = target
    member.size = len(content or b"")
    archive.addfile(member, io.BytesIO(content or b""))
