import pytest

from tabkit import CsvError, read_csv, write_csv
from tabkit.csvio import sniff


def test_plain():
    assert read_csv("a,b\n1,2\n") == [["a", "b"], ["1", "2"]]


def test_no_final_line_end():
    assert read_csv("a,b\n1,") == [["a", "b"], ["1", ""]]


def test_blank_lines_are_skipped():
    assert read_csv("a\n\n\r\nb\n") == [["a"], ["b"]]


def test_quotes():
    assert read_csv('"a,b","say ""hi""","two\nlines",""\n') == [["a,b", 'say "hi"', "two\nlines", ""]]


def test_other_delimiter():
    assert read_csv("a;b,c", ";") == [["a", "b,c"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [('a\n"b', "line 2: a quote is never closed"), ('"a"b', "line 1: 'b' after a closing quote")],
)
def test_errors(text, message):
    with pytest.raises(CsvError, match=message):
        read_csv(text)


@pytest.mark.parametrize(("text", "delimiter"), [("a,b;c,d\n;;;;", ","), ("a;b", ";"), ("a\tb\tc,d", "\t")])
def test_sniff(text, delimiter):
    assert sniff(text) == delimiter


def test_round_trip():
    rows = [["plain", 'quo"te', "com,ma"], ["two\nlines", "", "x"]]
    assert read_csv(write_csv(rows)) == rows


def test_none_is_empty():
    assert write_csv([[None, 0]]) == ",0\n"
