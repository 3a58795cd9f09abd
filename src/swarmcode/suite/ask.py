"""What a run of the suite is asked to do."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which tests, in which order, until when. Ids are those of `SuiteRun.tests`; unknown ones are no error.

    The id of a file that could not be collected stands for all its tests, and for the file itself: once the file can be
    collected, it is reported as passed under that id.
    """

    select: tuple[str, ...] = ()
    """Only these; empty: all."""
    first: tuple[str, ...] = ()
    """These before all others, in this order; the others keep theirs."""
    deselect: frozenset[str] = frozenset()
    """Not these."""
    stop_on: Literal["any"] | frozenset[str] = frozenset()
    """The run ends at the first failure of any test, or of one of these; empty: it goes on to the end."""

    @property
    def ids(self) -> frozenset[str]:
        """Every test that is named."""
        stop_on = () if self.stop_on == "any" else self.stop_on
        return frozenset((*self.select, *self.first, *self.deselect, *stop_on))
