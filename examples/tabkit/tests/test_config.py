import pytest

from tabkit import Config, ConfigError
from tabkit.config import parse

TEXT = """
# nightly jobs
[report]
title = Nightly
 jobs
owner = ops = team

[mail]
to = ops@example.org
"""


def test_parse():
    assert parse(TEXT) == {
        "report": {"title": "Nightly jobs", "owner": "ops = team"},
        "mail": {"to": "ops@example.org"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1", "line 1: 'a = 1' stands before any section"),
        ("[report", "line 1: the section is not closed"),
        ("[report]\ntitle", "line 2: expected name = value"),
        ("[report]\na = 1\na = 2", "line 3: a is set twice"),
    ],
)
def test_parse_errors(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_defaults():
    config = Config()
    assert config.integer("report", "max_width") == 24
    assert config.duration("report", "slow_after") == 600
    assert config.size("csv", "max_size") == 5_000_000
    assert config.flag("report", "show_header")


def test_settings_without_default():
    config = Config(parse(TEXT))
    assert config.get("report", "title") == "Nightly jobs"
    assert config.get("mail", "to") == "ops@example.org"
    assert config.sections() == ["csv", "mail", "report"]


def test_settings_override_defaults(tmp_path):
    path = tmp_path / "tabkit.ini"
    path.write_text("[report]\nmax_width = 30\n", encoding="utf-8")
    config = Config.load(path)
    assert config.integer("report", "max_width") == 30
    assert config.get("csv", "delimiter") == ","


def test_missing_setting():
    with pytest.raises(ConfigError, match=r"\[report\] has no colour"):
        Config().get("report", "colour")


def test_wrong_type():
    config = Config({"mail": {"retries": "many", "wait": "a while", "tls": "maybe"}})
    with pytest.raises(ConfigError, match="retries must be a whole number, not 'many'"):
        config.integer("mail", "retries")
    with pytest.raises(ConfigError, match="wait must be a duration"):
        config.duration("mail", "wait")
    with pytest.raises(ConfigError, match="tls must be yes or no"):
        config.flag("mail", "tls")
