"""Picks the sandbox that a person asked for, or the best that this machine has."""

from swarmcode.errors import SandboxUnavailable, UsageError
from swarmcode.sandbox.protocol import Sandbox

NAMES = ("auto", "docker", "bwrap", "process")


async def choose(name: str, *, run: str, image: str = "") -> Sandbox:
    """`auto`: Docker where an engine answers, else bubblewrap; never `process`, which isolates nothing.

    Raises `UsageError` for a name that is none, `SandboxUnavailable` where the sandbox cannot be had.
    """
    if image and name not in ("auto", "docker"):
        raise UsageError(f"--image needs Docker, not --sandbox {name}", "Leave --image out, or use --sandbox docker.")
    # Imported where they are used: the Docker SDK alone takes a quarter of a second.
    match name:
        case "auto":
            return await _best(run, image)
        case "docker":
            from swarmcode.sandbox.docker import DockerSandbox

            return await DockerSandbox.connect(run=run, image=image)
        case "bwrap":
            from swarmcode.sandbox.bwrap import BwrapSandbox

            return await BwrapSandbox.connect(run=run)
        case "process":
            from swarmcode.sandbox.process import ProcessSandbox

            return ProcessSandbox(run=run)
    raise UsageError(f"there is no sandbox {name!r}", f"Choose one of {', '.join(NAMES)}.")


async def _best(run: str, image: str) -> Sandbox:
    try:
        return await choose("docker", run=run, image=image)
    except SandboxUnavailable as docker:
        if image:
            raise
        try:
            return await choose("bwrap", run=run)
        except SandboxUnavailable as bwrap:
            raise SandboxUnavailable(
                f"there is no sandbox to run tests in: {docker.message}; {bwrap.message}",
                "Start Docker, or install bubblewrap; or run unprotected with --sandbox process.",
            ) from bwrap
