"""Settings: who wins, what is refused, and what a person is told."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmcode.config import Config, load, state_home
from swarmcode.errors import UsageError
from swarmcode.options import SETTINGS, Settings
from swarmcode.sandbox.protocol import Limits


@pytest.fixture
def place(tmp_path: Path) -> "Place":
    return Place(tmp_path)


class Place:
    """A repository, a user's file and an environment, all of them empty at first."""

    def __init__(self, root: Path) -> None:
        self.repo = root / "repo"
        self.repo.mkdir()
        self.user = root / "user.toml"
        self.environ: dict[str, str] = {}
        self.flags: dict[str, object] = {}

    def load(self) -> Config:
        return load(self.flags, environ=self.environ, repo=self.repo, user=self.user)

    def project(self, text: str) -> Path:
        file = self.repo / "swarmcode.toml"
        file.write_text(text)
        return file


def test_defaults_where_nobody_says_anything(place: Place) -> None:
    """Without any source the settings are the dataclasses' own defaults, and say so."""
    config = place.load()
    assert config.settings == Settings()
    assert {source.origin for source in config.sources.values()} == {"default"}


def test_each_source_yields_to_the_one_before_it(place: Place) -> None:
    """Flags, environment, project, user: taken away one by one, the next one speaks, and is named as the source."""
    place.flags = {"agents": "5"}
    place.environ = {"SWARMCODE_AGENTS": "4"}
    project = place.project("agents = 3")
    place.user.write_text("agents = 2")
    seen = []
    for drop in (lambda: place.flags.clear(), lambda: place.environ.clear(), project.unlink, place.user.unlink):
        config = place.load()
        seen.append((config.settings.swarm.agents, str(config.sources["agents"])))
        drop()
    assert seen == [(5, "--agents"), (4, "SWARMCODE_AGENTS"), (3, str(project)), (2, str(place.user))]
    assert place.load().settings.swarm.agents == Settings().swarm.agents


def test_pyproject_counts_and_swarmcode_toml_comes_before_it(place: Place) -> None:
    """Both project files are read; the one that is ours alone wins."""
    (place.repo / "pyproject.toml").write_text('[tool.swarmcode]\nagents = 7\nmode = "instant"\n[tool.other]\nx = 1\n')
    place.project("agents = 8")
    config = place.load()
    assert (config.settings.swarm.agents, config.settings.swarm.mode) == (8, "instant")
    assert config.sources["mode"].place.endswith("pyproject.toml [tool.swarmcode]")


def test_tables_are_dotted_keys(place: Place) -> None:
    """`[limits]` in a file and SWARMCODE_LIMITS_... in the environment name the same settings."""
    place.user.write_text("[limits]\nmemory_mb = 4096\nseconds = 3.5\n")
    place.environ = {"SWARMCODE_LIMITS_PROCESSES": "64"}
    limits = place.load().settings.sandbox.limits
    assert (limits.memory_mb, limits.seconds, limits.processes) == (4096, 3.5, 64)


def test_limits_are_those_of_a_box() -> None:
    """The settings and the sandbox agree on names and defaults, so one can be made from the other."""
    assert Limits(**asdict(Settings().sandbox.limits)) == Limits()


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        ("mode", "fast", "one of auto, instant, thinking, agent, swarm"),
        ("sandbox", "chroot", "one of auto, docker, bwrap, process"),
        ("agents", "0", "a whole number from 1 to 255"),
        ("agents", "many", "a whole number from 1 to 255"),
        ("agents", "9" * 5000, "a whole number from 1 to 255"),
        ("timeout", "-1", "a number from 1 to 604800"),
        ("timeout", "nan", "a number from 1 to 604800"),
        ("seed", "1.5", "a whole number from 0 to 4294967295"),
        ("test", "pytest 'tests", "No closing quotation"),
        ("test", " ", "a command"),
        ("image", "a\nb", "a text on one line"),
    ],
)
def test_a_bad_value_names_itself_its_place_and_the_choices(place: Place, key: str, raw: str, expected: str) -> None:
    """One line says what stands where; the hint says what would be right."""
    place.flags = {key: raw}
    with pytest.raises(UsageError) as caught:
        place.load()
    assert caught.value.message == f"{key} is {json.dumps(raw)} in --{key}"
    assert expected in caught.value.hint


@pytest.mark.parametrize(
    "line", ["agents = true", "agents = 3.5", 'timeout = "soon"', "mode = 1", "test = [1]", "test = []"]
)
def test_a_file_with_the_wrong_type_is_refused(place: Place, line: str) -> None:
    """TOML has types; a wrong one is not bent into shape."""
    place.user.write_text(line)
    with pytest.raises(UsageError, match=str(place.user)):
        place.load()


def test_a_bad_value_that_is_overridden_does_no_harm(place: Place) -> None:
    """Only the value that holds is looked at."""
    place.user.write_text("agents = -1")
    place.flags = {"agents": "3"}
    assert place.load().settings.swarm.agents == 3


def test_an_unknown_key_names_the_nearest(place: Place) -> None:
    """A typing error is found, and what was meant is named."""
    file = place.project("agnets = 3")
    with pytest.raises(UsageError) as caught:
        place.load()
    assert caught.value.message == f"{file} has the unknown key agnets; the nearest one is agents"


def test_an_unknown_variable_is_only_a_warning(place: Place) -> None:
    """The environment is shared with others; HOME and DEBUG are read elsewhere and are no strangers."""
    place.environ = {"SWARMCODE_AGENT": "3", "SWARMCODE_HOME": "/x", "SWARMCODE_DEBUG": "1", "SWARMCODE_MODE": ""}
    config = place.load()
    assert config.warnings == (
        "the environment variable SWARMCODE_AGENT is no setting; the nearest one is SWARMCODE_AGENTS",
    )
    assert config.sources["mode"].origin == "default"


@pytest.mark.parametrize(
    "line",
    [
        'sandbox = "process"',
        'image = "ghcr.io/evil/image"',
        'model = "./evil.gguf"',
        'model = "evil"',
        "boxes = 1000",
        "keep = 1",
        "limits.memory_mb = 65536",
        "limits.seconds = 1e4",
        "limits.processes = 4096",
        "limits.disk_mb = 99999",
    ],
)
def test_a_repository_cannot_loosen_its_own_sandbox(place: Place, line: str) -> None:
    """What comes with untrusted code is refused where it would weaken isolation, in either project file."""
    place.project(line)
    with pytest.raises(UsageError, match="not for a repository to decide") as caught:
        place.load()
    assert "SWARMCODE_" in caught.value.hint
    (place.repo / "swarmcode.toml").unlink()
    (place.repo / "pyproject.toml").write_text(f"[tool.swarmcode]\n{line}\n")
    with pytest.raises(UsageError, match="refused"):
        place.load()


@pytest.mark.parametrize("line", ['sandbox = "docker"', 'sandbox = "bwrap"', "limits.memory_mb = 512"])
def test_a_repository_may_tighten_its_sandbox(place: Place, line: str) -> None:
    """Less memory, or a certain kind of isolation, weakens nothing."""
    place.project(line)
    place.load()


def test_a_person_may_loosen_what_the_repository_may_not(place: Place) -> None:
    """The same value from the user's file or the environment holds, and settles a refused one of the project."""
    place.project('image = "project:ci"')
    place.environ = {"SWARMCODE_IMAGE": "project:ci"}
    place.user.write_text('sandbox = "process"')
    sandbox = place.load().settings.sandbox
    assert (sandbox.image, sandbox.kind) == ("project:ci", "process")


@pytest.mark.parametrize(
    "content", [b"agents = ", b"\xff\xfe", b"a = " + b"[" * 5000, b"#" * (2 << 20), b"swarmcode = 1"]
)
def test_a_file_that_is_no_settings_file_is_named(place: Place, content: bytes) -> None:
    """Broken, binary, deeply nested or huge: one clear error, no traceback."""
    (place.repo / "swarmcode.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"swarmcode\.toml"):
        place.load()


def test_a_tool_entry_that_is_no_table_is_named(place: Place) -> None:
    """`tool.swarmcode = 1` is an error, and a pyproject without our table is none."""
    pyproject = place.repo / "pyproject.toml"
    pyproject.write_text("tool.swarmcode = 1")
    with pytest.raises(UsageError, match="is no table"):
        place.load()
    pyproject.write_text("tool = 1")
    assert place.load().settings == Settings()


def test_the_test_command_may_be_a_line_or_its_words(place: Place) -> None:
    """A list is quoted into the line that a shell would need."""
    place.project('test = ["pytest", "-k", "a b"]')
    assert place.load().settings.suite.command == "pytest -k 'a b'"
    place.flags = {"test": "make test && true"}
    assert place.load().settings.suite.command == "make test && true"


def test_every_setting_is_declared_once_and_valid_by_default() -> None:
    """Keys are unique, and each default passes its own check."""
    assert len({declared.variable for declared in SETTINGS.values()}) == len(SETTINGS)
    for key, declared in SETTINGS.items():
        if key != "test":  # empty stands for `find it`, which nobody has to write
            assert declared.parse(declared.default) == declared.default


@given(
    st.sampled_from(sorted(SETTINGS)),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists),
)
def test_a_check_gives_a_value_or_says_what_is_right(key: str, raw: object) -> None:
    """Whatever a file may hold, a check ends with a value that passes again, or with `ValueError` and words."""
    try:
        value = SETTINGS[key].parse(raw)
    except ValueError as caught:
        said = str(caught)
    else:
        said = "right" if SETTINGS[key].parse(value) == value else ""
    assert said


def test_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SWARMCODE_HOME wins; else it is where the platform keeps state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_home({"SWARMCODE_HOME": "/a/b"}) == Path("/a/b")
    assert state_home({}) == tmp_path / "swarmcode"
