import pytest

from tabkit import Config, CsvError, Report

JOBS = """job,status,took
rotate,ok,15m
mirror,failed,40s
index,ok,2h
"""


def test_report():
    assert Report(Config({"report": {"title": "Nightly"}})).text(JOBS).splitlines() == [
        "Nightly",
        "=======",
        "",
        "job     status  took",
        "------  ------  -----  ----",
        "rotate  ok      15m    slow",
        "mirror  failed  40.0s",
        "index   ok      2h     slow",
    ]


def test_no_title():
    assert Report().text(JOBS).startswith("job ")


@pytest.mark.parametrize(("text", "message"), [("", "empty"), ("job,status\n", "missing columns: took")])
def test_bad_files(text, message):
    with pytest.raises(CsvError, match=message):
        Report().text(text)


def test_file_too_large():
    with pytest.raises(CsvError, match="max_size"):
        Report().text("x" * 6_000_000)
