"""The models that a run opens, and when."""

import asyncio

import pytest

from swarmcode.cli.engines import Standby, choose_model, choose_planner
from swarmcode.errors import UsageError
from swarmcode.options import ModelSettings, Settings


@pytest.mark.model
def test_a_model_on_standby_is_opened_once_and_closed() -> None:
    """When it is first asked for; one that never was costs nothing."""
    notes: list[str] = []

    async def main() -> None:
        standby = Standby(choose_model("repair"), Settings(), notes.append)
        await standby.close()
        assert not notes
        engine = await standby()
        assert await standby() is engine
        await standby.close()
        assert len(notes) == 1
        assert not engine.alive

    asyncio.run(main())


def test_no_planner_is_chosen_unless_it_is_named() -> None:
    """And one that cannot plan is refused before anything is loaded."""
    assert choose_planner(Settings(), print) is None
    with pytest.raises(UsageError, match="cannot plan"):
        choose_planner(Settings(model=ModelSettings(planner="repair")), print)
