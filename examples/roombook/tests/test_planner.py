from datetime import date

import pytest

from roombook import Conflict, Interval, NothingFree, Planner, Room
from roombook.grid import aligned, spread

MONDAY = date(2024, 5, 6)
SUNDAY = date(2024, 5, 12)


@pytest.fixture
def office():
    return Planner(
        [
            Room("Lise", 8, features=("screen",)),
            Room("Emmy", 4),
            Room("Hall", 40, opens="09:00", closes="22:00", closed=(), features=("screen", "piano")),
        ]
    )


def test_first_slot_of_the_day(office):
    assert str(office.suggest(MONDAY, minutes=30)) == "Emmy 08:00-08:30"


def test_smallest_sufficient_room(office):
    assert office.suggest(MONDAY, minutes=30, people=5).room == "Lise"
    assert office.suggest(MONDAY, minutes=30, people=9).room == "Hall"


def test_features(office):
    assert office.suggest(MONDAY, minutes=30, features=["piano"]).room == "Hall"


def test_too_many_people(office):
    with pytest.raises(NothingFree, match="41 people"):
        office.suggest(MONDAY, minutes=30, people=41)


def test_too_long(office):
    with pytest.raises(NothingFree):
        office.suggest(MONDAY, minutes=14 * 60)


def test_closed_on_sunday(office):
    assert office.suggest(SUNDAY, minutes=30).room == "Hall"
    with pytest.raises(Conflict):
        office.book("Emmy", SUNDAY, "09:00", "10:00")


def test_no_meeting_of_no_length(office):
    with pytest.raises(ValueError):
        office.suggest(MONDAY, minutes=0)


def test_skips_what_is_taken(office):
    office.book("Emmy", MONDAY, "08:00", "09:20")
    office.book("Lise", MONDAY, "08:00", "12:00")
    assert str(office.suggest(MONDAY, minutes=45, people=3)) == "Hall 09:00-09:45"
    assert [str(each) for each in office.suggestions(MONDAY, minutes=45, people=3)][1] == "Hall 09:15-10:00"
    found = [str(each) for each in office.suggestions(MONDAY, minutes=45) if each.room == "Emmy"]
    assert found[0] == "Emmy 09:30-10:15"


def test_between(office):
    lunch = Interval.parse("12:00", "14:00")
    found = list(office.suggestions(MONDAY, minutes=30, between=lunch))
    assert str(found[0]) == "Emmy 12:00-12:30"
    assert all(lunch.contains(each.time) for each in found)


def test_last_hour_of_the_day():
    office = Planner([Room("Lise", 8, opens="08:00", closes="18:00")])
    office.book("Lise", MONDAY, "08:00", "17:00")
    assert str(office.suggest(MONDAY, minutes=60, people=4)) == "Lise 17:00-18:00"


def test_double_booking(office):
    office.book("Emmy", MONDAY, "10:00", "11:00")
    with pytest.raises(Conflict, match="10:30-11:30"):
        office.book("Emmy", MONDAY, "10:30", "11:30")
    office.book("Emmy", MONDAY, "11:00", "12:00")


def test_outside_opening_hours(office):
    with pytest.raises(Conflict):
        office.book("Emmy", MONDAY, "17:30", "18:30")


def test_cancel(office):
    office.book("Emmy", MONDAY, "10:00", "11:00")
    office.cancel("Emmy", MONDAY, "10:00", "11:00")
    assert str(office.book("Emmy", MONDAY, "10:30", "11:30")) == "Emmy 10:30-11:30"


def test_unknown_room(office):
    with pytest.raises(KeyError, match="Emmy, Hall, Lise"):
        office.book("Marie", MONDAY, "10:00", "11:00")


def test_usage(office):
    assert office["Emmy"].usage(MONDAY) == 0
    office.book("Emmy", MONDAY, "08:00", "13:00")
    assert office["Emmy"].usage(MONDAY) == pytest.approx(0.5)
    assert office["Emmy"].usage(SUNDAY) == 0


def test_series_is_all_or_nothing(office):
    days = [date(2024, 5, day) for day in (6, 13, 20)]
    office.book("Emmy", days[1], "10:00", "11:00")
    with pytest.raises(Conflict, match="2024-05-13"):
        office.series("Emmy", days, "10:30", "11:30")
    assert office["Emmy"].is_free(days[0], Interval.parse("10:30", "11:30"))
    assert office.series("Emmy", days, "14:00", "15:00") == days
    assert not office["Emmy"].is_free(days[2], Interval.parse("14:30", "15:30"))


def test_room_needs_seats():
    with pytest.raises(ValueError, match="Closet"):
        Room("Closet", 0)


@pytest.mark.parametrize(
    ("window", "expected"),
    [((480, 600), (480, 600)), ((481, 600), (495, 600)), ((481, 495), None)],
)
def test_aligned(window, expected):
    part = aligned(Interval(*window))
    assert (part and (part.start, part.end)) == expected


def test_spread():
    found = [Interval(start, start + 10) for start in range(0, 100, 10)]
    assert spread(found, 3) == [found[0], found[3], found[6]]
    assert spread(found, 20) == found
    assert spread(found, 0) == []
