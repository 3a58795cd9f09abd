"""Where an issue may come from, and what each wrong way of passing one is answered with."""

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.errors import SurroundingsError, UsageError
from swarmcode.issue import LARGEST, LONGEST_TITLE, IssueText, read


def ask(source: str, repo: Path = Path(), stdin: bytes = b"") -> IssueText:
    return read(source, repo, io.BytesIO(stdin))


def test_text_is_taken_as_it_is(tmp_path: Path) -> None:
    """Plain words are the issue; its first line is the title."""
    issue = ask("total() adds the count\n\nIt should multiply.", tmp_path)
    assert issue.title == "total() adds the count"
    assert issue.text == "total() adds the count\n\nIt should multiply."
    assert issue.images == ()


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("\n\n# Wrong total\n\nbody", "Wrong total"),
        ("### Wrong total ###\nbody", "Wrong total"),
        ("---\n**Wrong total**\n", "Wrong total"),
        ("#hashtag stays", "#hashtag stays"),
        ("`f` and `g` differ", "`f` and `g` differ"),
        ("x" * 500, "x" * LONGEST_TITLE),
    ],
)
def test_title_is_the_first_line_without_marks(text: str, title: str) -> None:
    """Headings, emphasis and rules of Markdown are no part of the title."""
    assert ask(text).title == title


def test_file_is_read(tmp_path: Path) -> None:
    """A path that exists is read, whatever its name; a byte order mark and DOS line ends do no harm."""
    file = tmp_path / "an issue"
    file.write_bytes(b"\xef\xbb\xbf# T\xc3\xaftle\r\n\r\nbody\r\n")
    assert ask(str(file)) == IssueText(title="Tïtle", text="# Tïtle\n\nbody\n")


def test_dash_reads_standard_input() -> None:
    """`-` stands for standard input."""
    assert ask("-", stdin=b"# Piped\n").title == "Piped"
    assert ask("/dev/stdin", stdin=b"# Piped\n").title == "Piped"


def piped(content: bytes, repo: Path) -> IssueText:
    """As a shell passes `<(command)`: the name of an open pipe."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb"):
        with os.fdopen(theirs, "wb") as writer:
            writer.write(content)
        return ask(f"/dev/fd/{ours}", repo)


def test_a_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    """The shell's `<(command)` is an issue, with pictures in the repository; an empty one is none."""
    (tmp_path / "a.png").write_bytes(b"x")
    issue = piped(b"# Piped\n\n![](a.png)\n", tmp_path)
    assert issue.title == "Piped"
    assert issue.images == (tmp_path / "a.png",)
    with pytest.raises(UsageError, match="the issue is empty"):
        piped(b"", tmp_path)


def test_a_device_without_end_is_refused() -> None:
    """No more is read of it than an issue may have."""
    with pytest.raises(UsageError, match="/dev/zero is larger than"):
        ask("/dev/zero")


def test_pictures_beside_the_issue_are_found(tmp_path: Path) -> None:
    """Markdown and HTML pictures count where they lie beside the issue or in the repository, each once."""
    repo = tmp_path / "repo"
    (repo / "issues").mkdir(parents=True)
    (repo / "issues" / "a b.png").write_bytes(b"x")
    (repo / "shot.JPG").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    (repo / "issues" / "notes.txt").write_text("x")
    text = (
        'See ![one](a%20b.png "title"), ![again](<a b.png>), <img width=3 src="../shot.JPG">, ![gone](gone.png),\n'
        "![far](https://example.org/x.png), ![out](../../secret.png), ![text](notes.txt), ![nul](a\0.png)"
    )
    (repo / "issues" / "1.md").write_text(text.replace("\0", ""))
    issue = ask(str(repo / "issues" / "1.md"), repo)
    assert issue.images == ((repo / "issues" / "a b.png").resolve(), (repo / "shot.JPG").resolve())


@pytest.mark.parametrize("source", ["missing.md", "docs/missing", "notes.TXT", "~/nowhere/issue", "a\\b"])
def test_missing_file_is_not_taken_for_text(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like a path and is not there is a mistake, not an issue."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        ask(source)


def test_words_with_a_slash_are_text() -> None:
    """A sentence may speak of paths and of read/write."""
    assert ask("read/write locks in src/lock.py deadlock").title == "read/write locks in src/lock.py deadlock"


@pytest.mark.parametrize("source", ["", "  \n\t", "# \n---\n", "***"])
def test_empty_issue_is_refused(source: str) -> None:
    """Without a word there is nothing to fix."""
    with pytest.raises(UsageError, match="empty"):
        ask(source)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"\xff\xfe\x00", "no UTF-8"), (b"ab\0c", "binary"), (b"a" * (LARGEST + 1), "larger"), (b" \n", "empty")],
)
def test_unfit_files_are_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    """Binary, undecodable, huge and empty files are named, with what is wrong; so is standard input."""
    file = tmp_path / "issue.md"
    file.write_bytes(content)
    for source in (str(file), "-"):
        with pytest.raises(UsageError, match=complaint) as raised:
            ask(source, stdin=content)
        assert raised.value.hint


def test_folder_is_refused(tmp_path: Path) -> None:
    """A folder is no issue."""
    with pytest.raises(UsageError, match="is no file"):
        ask(str(tmp_path))


@pytest.mark.parametrize("source", ["owner/name#12", "https://github.com/owner/name/issues/12"])
def test_github_without_gh_says_what_to_do(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the gh program a reference is refused, and the hint says how else to pass the issue."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="gh program") as raised:
        ask(source)
    assert "text" in raised.value.hint


def gh(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a program called gh first on the path."""
    program = folder / "gh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("owner/name#12", "owner/name"),
        ("https://github.com/owner/name/issues/12#issuecomment-1", "owner/name"),
        ("https://git.example.org/owner/name/issues/12", "git.example.org/owner/name"),
    ],
)
def test_github_reference_is_fetched_with_gh(
    source: str, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gh, title and body are what it answers."""
    answer = json.dumps({"title": "Wrong total", "body": "It adds."})
    gh(tmp_path, monkeypatch, f"echo \"$@\" > '{tmp_path}/asked'; echo '{answer}'")
    issue = ask(source)
    assert issue == IssueText(title="Wrong total", text="# Wrong total\n\nIt adds.\n")
    assert (tmp_path / "asked").read_text() == f"issue view 12 --repo {repository} --json title,body\n"


@pytest.mark.parametrize(
    ("script", "complaint"), [("echo no such issue >&2; exit 1", "no such issue"), ("echo {}", "gh")]
)
def test_github_failures_are_told(script: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When gh fails, its own reason is passed on."""
    gh(tmp_path, monkeypatch, script)
    with pytest.raises(SurroundingsError, match=complaint):
        ask("owner/name#12")


def attempt(source: str, stdin: bytes = b"") -> IssueText | UsageError:
    try:
        return ask(source, stdin=stdin)
    except UsageError as error:
        return error


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300).filter(lambda text: text != "-" and "#" not in text and "://" not in text))
def test_any_text_is_an_issue_or_a_clear_refusal(text: str) -> None:
    """No text makes it fail otherwise than with a message for a person; a title is never empty."""
    outcome = attempt(text)
    if isinstance(outcome, UsageError):
        assert outcome.message
    else:
        assert outcome.title.strip()
        assert outcome.title in outcome.text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_issue_or_a_clear_refusal(content: bytes) -> None:
    """The same for whatever is piped in."""
    outcome = attempt("-", content)
    assert outcome.hint if isinstance(outcome, UsageError) else outcome.title
