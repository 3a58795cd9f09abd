"""Modes and widths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.errors import UsageError
from swarmcode.route import choose_mode, explorers, settling_width, widths


def test_waves_widen_from_three_to_all() -> None:
    """Narrow first, then as wide as allowed until the budget of attempts is spent."""
    assert widths(100, 333) == (3, 30, 100, 100, 100)
    assert widths(10, 25) == (3, 10, 10, 2)
    assert widths(1, 3) == (1, 1, 1)


def test_half_a_fix_is_settled_for_late_where_guesses_are_cheap() -> None:
    """After a wave of all agents; a model whose answers are long has been asked often enough after thirty."""
    assert settling_width(("span",), 100) == 100
    assert settling_width(("blocks", "tools"), 100) == 30
    assert settling_width(("blocks",), 10) == settling_width(("span",), 10) == 10


def test_agents_with_tools_are_few() -> None:
    """One first; a few more with other seeds where it brought nothing, if so many are allowed."""
    assert [explorers(agents) for agents in (1, 2, 100)] == [(1,), (1, 2), (1, 3)]


@given(st.integers(1, 100), st.integers(1, 2000))
def test_waves_spend_the_budget_and_never_exceed_the_agents(agents: int, attempts: int) -> None:
    """All attempts are made, none more, and never more at once than allowed."""
    waves = widths(agents, attempts)
    assert sum(waves) == attempts
    assert max(waves) <= agents
    assert min(waves) > 0


def test_auto_follows_the_work() -> None:
    """Several subtasks make a swarm; a sharp place needs no reasoning; an unclear one does, where the model can."""
    assert choose_mode("auto", protocols=("span",), subtasks=3, sharp=True) == "swarm"
    assert choose_mode("auto", protocols=("span",), subtasks=1, sharp=False) == "instant"
    assert choose_mode("auto", protocols=("blocks",), subtasks=1, sharp=True) == "instant"
    assert choose_mode("auto", protocols=("blocks",), subtasks=1, sharp=False) == "thinking"
    assert choose_mode("auto", protocols=("tools", "blocks"), subtasks=1, sharp=False) == "thinking"


def test_auto_looks_around_where_the_evidence_is_weak() -> None:
    """If the model has tools; where it has none, it does what it can."""
    assert choose_mode("auto", protocols=("tools", "blocks"), subtasks=1, sharp=False, weak=True) == "agent"
    assert choose_mode("auto", protocols=("tools", "blocks"), subtasks=1, sharp=True, weak=True) == "instant"
    assert choose_mode("auto", protocols=("tools", "blocks"), subtasks=2, sharp=True, weak=True) == "swarm"
    assert choose_mode("auto", protocols=("blocks",), subtasks=1, sharp=False, weak=True) == "thinking"
    assert choose_mode("auto", protocols=("span",), subtasks=1, sharp=False, weak=True) == "instant"
    assert choose_mode("agent", protocols=("tools", "blocks"), subtasks=3, sharp=True) == "agent"


@pytest.mark.parametrize(("mode", "protocols"), [("thinking", ("span",)), ("agent", ("span",)), ("agent", ("blocks",))])
def test_what_the_model_cannot_do_is_refused_with_the_choices(mode: str, protocols: tuple[str, ...]) -> None:
    """Nothing is asked of a model that its profile does not promise."""
    with pytest.raises(UsageError, match=mode) as caught:
        choose_mode(mode, protocols=protocols, subtasks=1, sharp=True)  # type: ignore[arg-type]
    assert "instant" in caught.value.hint
