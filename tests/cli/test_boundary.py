"""Errors, signals and crashes at the edge of the program."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swarmcode.cli import main
from swarmcode.cli.boundary import CrashHook, Interrupted, interruptible, tell
from swarmcode.errors import EngineLost, StateError, UsageError


def test_an_error_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What was wrong, and below it what to do; nothing on standard output."""
    tell(StateError("the disk is full", "free some space"))
    assert capsys.readouterr() == ("", "swarmcode: the disk is full\n  free some space\n")
    tell(EngineLost("the engine died"))
    assert capsys.readouterr().err == "swarmcode: the engine died\n"


def test_an_error_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """File names and messages of others lose their escape sequences on the way to a person."""
    tell(UsageError("no file \x1b]0;owned\x07\x1b[2Jx", "\x9b31mred"))
    assert capsys.readouterr().err == "swarmcode: no file x\n  red\n"


def test_the_first_signal_ends_the_work_and_lets_it_clean_up() -> None:
    """The work is cancelled once; further signals while it cleans up change nothing."""
    told: list[str] = []
    cleaned: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
                await asyncio.sleep(0)
            cleaned.append("all of it")

    with pytest.raises(Interrupted):
        asyncio.run(interruptible(work(), told.append))
    assert cleaned == ["all of it"]
    assert told[0] == "interrupted: cleaning up"
    assert set(told[1:]) == {"still cleaning up"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_is_an_interruption(number: signal.Signals) -> None:
    """What a service manager or a closed terminal sends ends the run in the same order."""

    async def work() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    with pytest.raises(Interrupted):
        asyncio.run(interruptible(work(), [].append))


def test_undisturbed_work_gives_its_result() -> None:
    """Without a signal nothing is different; a cancellation that nobody asked for stays one."""

    async def work() -> int:
        return 3

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert asyncio.run(interruptible(work())) == 3
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interruptible(cancelled()))


def crashed(error: BaseException, hook: CrashHook) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        hook(type(error), error, None)
    return caught.value.code


def test_a_crash_keeps_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for the person, the whole in the run's folder, exit code 70."""
    hook = CrashHook()
    hook.folder = tmp_path
    assert crashed(ZeroDivisionError("by\x1b[31m zero"), hook) == 70
    said = capsys.readouterr().err
    assert said.startswith("swarmcode: an error inside swarmcode itself: ZeroDivisionError: by zero\n")
    assert str(tmp_path / "crash.txt") in said
    assert "Traceback" not in said
    assert "ZeroDivisionError" in (tmp_path / "crash.txt").read_text()


def test_a_crash_without_a_folder_says_how_to_see_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before there is a run, or where its folder is gone, the way to the traceback is named."""
    for folder in (None, tmp_path / "gone"):
        hook = CrashHook()
        hook.folder = folder
        assert crashed(ValueError("x"), hook) == 70
        assert "SWARMCODE_DEBUG=1" in capsys.readouterr().err


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks for it sees all of it."""
    monkeypatch.setenv("SWARMCODE_DEBUG", "1")
    assert crashed(ValueError("x"), CrashHook()) == 70
    assert "ValueError: x\n" in capsys.readouterr().err.split("itself:")[1].split("\n", 1)[1]


def test_a_late_interruption_is_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C where nobody handles it any more is 130, without a word."""
    assert crashed(KeyboardInterrupt(), CrashHook()) == 130
    assert capsys.readouterr().err == ""


def test_a_crash_ends_the_process_with_its_code() -> None:
    """The hook works where it is installed: the interpreter ends with 70 and prints no traceback of its own."""
    code = "from swarmcode.cli import boundary; boundary.install(); 1 / 0"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_closed_standard_error_does_not_spill_into_the_patch() -> None:
    """With standard error closed, nothing that is meant for it reaches standard output."""
    code = "from swarmcode.cli import boundary; boundary.install(); boundary.say('for a person')"
    done = subprocess.run(["sh", "-c", f'{sys.executable} -c "$0" 2>&-', code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b""


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["fix", "x", "--tset", "y"], ["nonsense"], ["fix", "a", "b"], ["fix", "x", "--agents"]],
)
def test_misuse_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown options and commands, and missing values, are told on standard error alone."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error: " in captured.err


def test_the_version_comes_at_once() -> None:
    """`--version` and `--help` load neither model nor sandbox nor parser."""
    code = (
        "import sys\n"
        "from swarmcode.cli import main\n"
        "try:\n    main([sys.argv[1]])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "slow = ('llama_cpp', 'docker', 'tree_sitter', 'numpy', 'pydantic', 'git', 'rich.live')\n"
        "assert not [name for name in slow if name in sys.modules], sys.modules.keys()"
    )
    for argument in ("--version", "--help"):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
        assert "swarmcode" in done.stdout
        assert done.stderr == ""
