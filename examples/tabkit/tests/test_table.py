import pytest

from tabkit import Column, Table
from tabkit.table import fit, is_number


def test_lines():
    table = Table.of(["name", "size"], [["readme", 120], ["licence", 11000]])
    assert table.lines() == [
        "name      size",
        "-------  -----",
        "readme     120",
        "licence  11000",
    ]


def test_text_goes_left():
    assert Table.of(["a", "b"], [["x", "y"], ["x", "10"]]).lines()[3] == "x  10"


def test_explicit_alignment():
    table = Table([Column("id", align="left"), Column("x", align="right")], [["7", "a"], ["12", "bcd"]])
    assert table.lines()[2:] == ["7     a", "12  bcd"]


def test_unknown_alignment():
    with pytest.raises(ValueError, match="centre"):
        Column("x", align="centre")


def test_long_cells_are_cut():
    assert fit("a rather long description", 10) == "a rather …"
    assert fit("short", 10) == "short"


def test_cell_as_wide_as_the_column():
    table = Table.of(["job"], [["backup-daily"], ["backup-weekly"]], max_width=12)
    assert table.lines()[2:] == ["backup-daily", "backup-week…"]


def test_line_ends_become_blanks():
    assert fit("two\n lines", 20) == "two lines"


def test_no_width_at_all():
    with pytest.raises(ValueError):
        fit("x", 0)


def test_short_rows_are_filled_up():
    table = Table.of(["a", "b"], [["x"], [None, 1]])
    assert table.rows == [["x", ""], ["", "1"]]


def test_long_rows_are_an_error():
    with pytest.raises(ValueError, match="3 cells for 2 columns"):
        Table.of(["a", "b"], [[1, 2, 3]])


@pytest.mark.parametrize("text", ["1", "-1,234.5", "12 %", " 7 ", "1e3"])
def test_numbers(text):
    assert is_number(text)


@pytest.mark.parametrize("text", ["", "%", "1h", "v1.2", "-"])
def test_no_numbers(text):
    assert not is_number(text)


def test_sort_by_value():
    table = Table.of(["job", "n"], [["a", "10"], ["b", "9"], ["c", "1,000"], ["d", "none"]])
    table.sort("n")
    assert [row[0] for row in table.rows] == ["d", "b", "a", "c"]
