import pytest

from roombook import clock


@pytest.mark.parametrize(("text", "value"), [("00:00", 0), ("8:05", 485), (" 23:59 ", 1439), ("24:00", 1440)])
def test_minutes(text, value):
    assert clock.minutes(text) == value


@pytest.mark.parametrize("text", ["", "8", "08:60", "24:01", "-1:00", "08:00:00"])
def test_not_a_time(text):
    with pytest.raises(ValueError):
        clock.minutes(text)


def test_text():
    assert clock.text(485) == "08:05"
    with pytest.raises(ValueError):
        clock.text(1441)


@pytest.mark.parametrize(("value", "text"), [(45, "45 min"), (60, "1 h"), (90, "1 h 30 min"), (0, "0 min")])
def test_duration(value, text):
    assert clock.duration(value) == text


@pytest.mark.parametrize(("value", "rounded"), [(0, 0), (1, 15), (15, 15), (16, 30)])
def test_round_up(value, rounded):
    assert clock.round_up(value, 15) == rounded
