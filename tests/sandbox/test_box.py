"""What every sandbox does, isolated or not: trees, commands, inputs, results."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from swarmcode.errors import DiffError

if TYPE_CHECKING:
    from conftest import Bench


def test_tree_is_the_base(anywhere: Bench) -> None:
    """A fresh box holds the base's files, links and modes, and a command starts at the top of the tree."""
    result = anywhere.shell("cat app.py link folder-link/deep/data.txt && ./tool.sh && ls -d empty && pwd")
    *lines, where = result.output.splitlines()
    assert lines == ["print('base')", "data", "data", "tool", "empty"]
    assert result.exit_code == 0
    if anywhere.sandbox.isolated:
        assert where == str(anywhere.base.home)


def test_changes_are_applied(anywhere: Bench) -> None:
    """Files are written whole, made with their folders, and deleted; a command sees that."""
    anywhere.apply({"app.py": b"print('new')\n", "fresh/inner/file": b"\x00\xff", "src/deep/data.txt": None})
    result = anywhere.python("print(open('app.py').read(), list(open('fresh/inner/file', 'rb').read()))")
    assert result.output == "print('new')\n [0, 255]\n"
    assert anywhere.shell("ls src/deep").output == ""


def test_written_files_keep_their_mode(anywhere: Bench) -> None:
    """A file that is rewritten stays executable, even after it was deleted; a new one is not executable."""
    anywhere.apply({"tool.sh": b"#!/bin/sh\necho changed\n", "new.sh": b""})
    assert anywhere.shell("./tool.sh").output == "changed\n"
    assert anywhere.shell("./new.sh").exit_code == 126
    anywhere.apply({"tool.sh": None})
    anywhere.apply({"tool.sh": b"#!/bin/sh\necho back\n"})
    assert anywhere.shell("./tool.sh").output == "back\n"


def test_deleting_what_is_not_there_is_no_fault(anywhere: Bench) -> None:
    """After a deletion the file is not there, whether or not it was before; no folder is made on the way."""
    anywhere.apply({"nothing/here": None})
    assert anywhere.shell("test -e nothing").exit_code == 1


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../outside",
        "src/../../outside",
        "src//deep",
        "./app.py",
        "",
        "nul\0byte",
        ".git/config",
        "src/.git/hooks/pre-commit",
        ".GIT/config",
        "link",
        "folder-link/deep/data.txt",
        "app.py/below",
        "src",
    ],
)
def test_bad_paths_are_refused(anywhere: Bench, path: str) -> None:
    """A path that leaves the tree, belongs to git or passes through a link raises `DiffError`; nothing is changed."""
    with pytest.raises(DiffError):
        anywhere.apply({"app.py": b"changed", path: b"changed"})
    assert anywhere.shell("cat app.py link").output == "print('base')\ndata\n"


def test_link_that_a_command_made_is_not_followed(anywhere: Bench) -> None:
    """A command turns a folder into a link out of the tree: writing below it is refused and reaches nothing."""
    anywhere.shell("mkdir outside-of-tree; rm -rf src; ln -s $TMPDIR src; ln -s $TMPDIR/target file")
    for path in ("src/planted", "file"):
        with pytest.raises(DiffError):
            anywhere.apply({path: b"changed"})
    assert anywhere.shell("ls $TMPDIR/planted $TMPDIR/target").exit_code == 2


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143), ("exit 255", 255)],
)
def test_exit_codes(anywhere: Bench, script: str, code: int) -> None:
    """An exit code comes back as it is, a signal as 128 and its number."""
    result = anywhere.shell(script)
    assert (result.exit_code, result.killed) == (code, "")


def test_program_that_cannot_start(anywhere: Bench) -> None:
    """No such program is 127, one that may not be executed 126, as in a shell; the output names it."""
    missing = anywhere.run("no-such-program")
    assert (missing.exit_code, missing.output) == (127, "no-such-program: No such file or directory\n")
    assert anywhere.run("./app.py").exit_code == 126
    assert anywhere.run("true", cwd="no/such/folder").exit_code == 127


def test_environment_is_only_what_is_given(anywhere: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gets the toolchain's variables and its own, `{scratch}` filled in, and none of the host's."""
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    result = anywhere.shell("env", env={"REPORT": "{scratch}/report.xml"})
    variables = dict(line.split("=", 1) for line in result.output.splitlines())
    assert "SECRET_TOKEN" not in variables
    assert variables["HOME"] + "/report.xml" == variables["REPORT"]
    assert variables["PYTHONHASHSEED"] == "0"


def test_inputs_go_in_and_files_come_back(anywhere: Bench) -> None:
    """Inputs lie in the scratch folder; files asked for come back byte for byte; missing ones are left out."""
    content = bytes(range(256)) * 1000
    result = anywhere.shell("cp $HOME/in $HOME/out", inputs={"in": content}, collect=("out", "missing"))
    assert result.files == {"out": content}


def test_report_of_an_earlier_command_does_not_count(anywhere: Bench) -> None:
    """A file to bring back that an earlier command left is removed first, so that it cannot pass for a new one."""
    anywhere.shell("echo old > $HOME/report; mkdir -p $HOME/folder/below")
    result = anywhere.shell("true", collect=("report", "folder"))
    assert result.files == {}


def test_only_regular_files_come_back(anywhere: Bench) -> None:
    """A link, a pipe, or a folder in place of a report is as if nothing were there."""
    script = "ln -s /etc/passwd $HOME/link; mkfifo $HOME/pipe; mkdir $HOME/folder; echo x > $HOME/file"
    result = anywhere.shell(script, collect=("link", "pipe", "folder", "file"))
    assert result.files == {"file": b"x\n"}


def test_inputs_are_put_there_anew(anywhere: Bench) -> None:
    """What a command does to its inputs (edits, links, folders) is gone for the next."""
    for attack in ("echo bad > $HOME/in", "ln -sf /etc/passwd $HOME/in", "rm $HOME/in; mkdir -p $HOME/in/below"):
        anywhere.shell(attack, inputs={"in": b"good\n"})
        assert anywhere.shell("cat $HOME/in", inputs={"in": b"good\n"}).output == "good\n"


def test_names_of_inputs_are_plain(anywhere: Bench) -> None:
    """A name that would leave the scratch folder is our own mistake, and raises at once."""
    for name in ("../x", "a/b", "", ".."):
        with pytest.raises(ValueError, match="plain file name"):
            anywhere.shell("true", inputs={name: b""})


def test_tail_of_huge_output_is_kept(anywhere: Bench) -> None:
    """Of endless output only the last `output_kb` come back, with what was printed last."""
    result = anywhere.python("for n in range(100_000): print('line', n)\nprint('last')", output_kb=8)
    assert len(result.output) == 8 * 1024
    assert result.output.endswith("line 99999\nlast\n")


def test_output_is_decoded_with_replacement(anywhere: Bench) -> None:
    """Bytes that are no UTF-8 do not break a result; standard error is in it as well."""
    assert anywhere.shell(r"printf 'a\377b'; echo err >&2").output == "a\ufffdberr\n"


def test_timeout_kills(anywhere: Bench) -> None:
    """A command that never ends is killed at its limit; what it printed is there; the box goes on."""
    result = anywhere.python("import time; print('begun', flush=True); time.sleep(1000)", seconds=0.5)
    assert (result.exit_code, result.killed, result.output) == (None, "timeout", "begun\n")
    assert 0.5 <= result.seconds < 5.0
    assert anywhere.shell("echo on").output == "on\n"


def test_deaf_daemon_is_killed(anywhere: Bench) -> None:
    """A process that ignores signals, leaves session and parent, and holds the output open, does not survive."""
    daemon = """
        import os, signal
        said, say = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP}:
                    signal.signal(number, signal.SIG_IGN)
                os.write(say, str(os.getpid()).encode())
                while True:
                    signal.pause()
            os._exit(0)
        print(os.read(said, 100).decode())
    """
    pid = anywhere.python(daemon).output.strip()
    assert pid.isdigit()
    assert anywhere.shell(f"kill -0 {pid}").exit_code != 0


def test_file_size_is_limited(anywhere: Bench) -> None:
    """Writing one huge file ends the writer at `file_mb`."""
    result = anywhere.shell("dd if=/dev/zero of=$HOME/huge bs=1M count=64; wc -c < $HOME/huge", file_mb=4)
    assert result.output.splitlines()[-1] == str(4 * 1024 * 1024)


def test_mode_of_the_tree(anywhere: Bench) -> None:
    """Modes are those of the base, whatever the umask of whoever runs swarmcode."""
    result = anywhere.python("import os; print(*(oct(os.stat(p).st_mode) for p in ('.', 'app.py', 'tool.sh', 'src')))")
    modes = [(anywhere.base.root / name).stat().st_mode for name in (".", "app.py", "tool.sh", "src")]
    assert result.output.split() == [oct(mode) for mode in modes]
    assert all(mode & stat.S_IRUSR for mode in modes)
