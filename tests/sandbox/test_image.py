"""Given images, the image that is made here, and bases that a box's user could not read."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swarmcode.errors import SandboxUnavailable
from swarmcode.sandbox import host
from swarmcode.sandbox.choose import choose
from swarmcode.sandbox.image import build
from swarmcode.sandbox.plan import plan
from swarmcode.sandbox.protocol import Base, Command, Limits, Toolchain
from swarmcode.sandbox.stage import readable
from swarmcode.suite import probe

if TYPE_CHECKING:
    from conftest import Bench, Benches

NAME = "swarmcode-tests/shell:latest"


def rootfs() -> bytes:
    """A root file system of a shell and the libraries that it needs: no Python, no /usr."""
    shell = Path("/bin/sh").resolve()
    listing = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"(/\S+) \(", listing)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        archive.add(shell, "bin/sh")
        for path in needed:
            archive.add(os.path.realpath(path), path.lstrip("/"))
    return buffer.getvalue()


@pytest.fixture
def image(benches: Benches) -> Iterator[str]:
    benches.get("docker")
    argv = ["docker", "import", "--change", "ENV MADE_BY=image", "-", NAME]
    subprocess.run(argv, input=rootfs(), check=True, capture_output=True)
    yield NAME
    subprocess.run(["docker", "rmi", NAME], check=True, capture_output=True)


@pytest.mark.docker
def test_given_image(benches: Benches, image: str) -> None:
    """A given image is used as it is: its programs and variables, of the host's nothing but what the toolchain names,
    and it needs no Python."""
    bench = benches.get("docker")

    async def scenario() -> list[str]:
        sandbox = await choose("docker", run="tests-image", image=image)
        try:
            home = Path("/testbed")
            named = Toolchain(path=(), mounts=(probe.folder(),))
            box = await sandbox.open(Base(root=bench.base.root, home=home), named, Limits(disk_mb=64))
            await box.apply({"new": b"x"})
            script = (
                f"[ -f {probe.folder()}/swarmcode_probe.py ] && echo probe; "
                + "pwd; echo $MADE_BY; echo *; [ -e /usr ] || echo bare; echo done > $HOME/x && echo $HOME/*"
            )
            result = await box.run(Command(argv=("/bin/sh", "-c", script)))
            return result.output.splitlines()
        finally:
            await sandbox.close()

    assert bench.wait(scenario()) == [
        "probe",
        "/testbed",
        "image",
        "app.py empty folder-link link new src tool.sh",
        "bare",
        f"{host.SCRATCH}/x",
    ]


def test_made_image_is_always_the_same() -> None:
    """Equal contents give equal bytes and an equal name, other contents another: it is made once, never mixed up."""
    first, again = (build({"/bin": "usr/bin"}, {"/etc/passwd": "x"}) for _ in range(2))
    assert first == again
    assert build({"/bin": "usr/bin"}, {"/etc/passwd": "y"}).tag != first.tag


def test_made_image_holds_links_and_tables() -> None:
    """It holds what it was given, mount points, and nothing else; its parts name each other rightly."""
    made = build({"/bin": "usr/bin"}, {"/etc/passwd": "users"})
    with tarfile.open(fileobj=io.BytesIO(made.archive)) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        layer = archive.extractfile(manifest["Layers"][0]).read()
    assert manifest["RepoTags"] == [made.tag]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        members = {member.name: member for member in inner}
        assert members["bin"].linkname == "usr/bin"
        assert inner.extractfile("etc/passwd").read() == b"users"
        assert {member.uid for member in members.values()} == {0}
        assert all(member.isdir() for name, member in members.items() if name not in ("bin", "etc/passwd"))


def test_readable_base_is_used_as_it_is(tmp_path: Path) -> None:
    """A base that everybody may read is not copied."""
    base, store = tmp_path / "base", tmp_path / "store"
    store.mkdir()
    base.mkdir(mode=0o755)
    (base / "file").touch(mode=0o644)
    (base / "link").symlink_to("/nowhere")
    assert readable(base, store) == base


def test_private_base_is_copied(tmp_path: Path) -> None:
    """One that not everybody may read is copied, links as links, executables executable, pipes left out."""
    base, store = tmp_path / "base", tmp_path / "store"
    store.mkdir()
    (base / "folder").mkdir(parents=True)
    (base / "folder" / "secret").write_text("content")
    (base / "folder" / "secret").chmod(0o600)
    (base / "tool").touch(mode=0o700)
    (base / "link").symlink_to("folder/secret")
    os.mkfifo(base / "pipe")
    copy = readable(base, store)
    assert copy.is_relative_to(store)
    assert (copy / "folder" / "secret").read_text() == "content"
    assert (copy / "folder" / "secret").stat().st_mode & 0o777 == 0o644
    assert (copy / "tool").stat().st_mode & 0o100
    assert (copy / "link").is_symlink()
    assert not (copy / "pipe").exists()
    assert (base / "folder" / "secret").stat().st_mode & 0o777 == 0o600


def test_private_base_in_a_box(bench: Bench, tmp_path: Path) -> None:
    """A tree with files for the owner's eyes only runs in a box whose user is another."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "private").write_text("content\n")
    (tmp_path / "base" / "private").chmod(0o600)
    box = bench.open(Limits(disk_mb=64), Base(root=tmp_path / "base", home=bench.base.home))
    assert bench.shell("cat private", box=box).output == "content\n"
    bench.wait(box.close())


@pytest.mark.parametrize("home", ["/", "/usr", "/etc", "/tmp", "/swarmcode/base", "relative"])
def test_place_that_the_system_needs(home: str, tmp_path: Path) -> None:
    """A repository that is the root, or a folder of the system, cannot be rebuilt in a box, and that is said."""
    with pytest.raises(SandboxUnavailable, match="cannot be rebuilt"):
        plan(tmp_path, Path(home), Toolchain(path=(), mounts=()), Limits(), system=True, nested=True)


def test_disk_is_shared_out(tmp_path: Path) -> None:
    """The memory file systems of a box are together as large as its disk, not larger."""
    for disk in (8, 100, 1024, 1031):
        toolchain = Toolchain(path=(), mounts=())
        made = plan(tmp_path, Path("/srv/x"), toolchain, Limits(disk_mb=disk), system=True, nested=True)
        assert sum(made.sizes.values()) == disk


def test_system_folders_are_not_mounted_twice(tmp_path: Path) -> None:
    """What a toolchain names of /usr, or inside another of its folders, or the tree itself, adds no mount."""
    (tmp_path / "env" / "inner").mkdir(parents=True)
    mounts = (Path("/usr/lib"), tmp_path / "env", tmp_path / "env" / "inner", tmp_path)
    toolchain = Toolchain(path=(), mounts=mounts[:3])
    made = plan(tmp_path, Path("/srv/x"), toolchain, Limits(), system=True, nested=True)
    targets = [mount.target for mount in made.mounts]
    assert targets.count(str(tmp_path / "env")) == 1
    assert "/usr/lib" not in targets
    assert str(tmp_path / "env" / "inner") not in targets
    assert len(targets) == len(set(targets))
