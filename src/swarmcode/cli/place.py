"""Where a call is about: the folder that is worked on, and what of its repository that leaves out."""

from pathlib import Path

from swarmcode.errors import SuiteError, SurroundingsError, UsageError
from swarmcode.gitdir import find, inside


def folder_of(given: Path) -> Path:
    """The folder, absolute. Raises `UsageError` where it is none, `SurroundingsError` where the current one is gone."""
    try:
        place = given.absolute()
    except FileNotFoundError:
        raise SurroundingsError(
            "the current folder is not there any more", "change to one that is, or name the repository with --repo"
        ) from None
    if not place.is_dir():
        raise UsageError(f"{place} is no folder", "pass the folder of the repository with --repo")
    return place


def widen(error: SuiteError, place: Path) -> None:
    """Adds to the hint where only a folder of the repository was looked at: the tests may be beside it."""
    home = find(place.resolve())
    if home is not None and inside(place):
        more = f"only {place} was taken, a folder of the repository {home.top}; for all of it: --repo {home.top}"
        error.hint = f"{error.hint}\n{more}" if error.hint else more
