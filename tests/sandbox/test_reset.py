"""What one candidate leaves behind does not reach the next: a reset box is as good as a new one."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench

TRACES = {
    "new file": "open('planted', 'w')",
    "new folder": "os.makedirs('planted/a/b'); open('planted/a/b/c', 'w')",
    "changed file": "open('app.py', 'a').write('bad')",
    "changed file of the same size and time": """
        info = os.stat('app.py')
        content = open('app.py').read()
        open('app.py', 'w').write(content.swapcase())
        os.utime('app.py', ns=(info.st_atime_ns, info.st_mtime_ns))
    """,
    "changed through a shared mapping": """
        import mmap
        info = os.stat('app.py')
        fd = os.open('app.py', os.O_RDWR)
        mmap.mmap(fd, 0)[:5] = b'PRINT'
        os.utime('app.py', ns=(info.st_atime_ns, info.st_mtime_ns))
    """,
    "deleted file": "os.remove('app.py')",
    "deleted folder": "import shutil; shutil.rmtree('src')",
    "deleted empty folder": "os.rmdir('empty')",
    "mode of a file": "os.chmod('app.py', 0o777); os.chmod('tool.sh', 0)",
    "mode of a folder": "os.chmod('src', 0o777)",
    "mode of the tree": "os.chmod('.', 0o700)",
    "locked folder": "os.mkdir('locked'); open('locked/x', 'w'); os.chmod('locked', 0); os.chmod('src', 0)",
    "locked folders in each other": """
        os.makedirs('a/b/c')
        for name in ('a/b/c', 'a/b', 'a'):
            os.chmod(name, 0o500)
    """,
    "file in place of a folder": "import shutil; shutil.rmtree('src'); open('src', 'w').write('x')",
    "folder in place of a file": "os.remove('app.py'); os.makedirs('app.py/below')",
    "link in place of a file": "os.remove('app.py'); os.symlink('/etc/passwd', 'app.py')",
    "link in place of a folder": "os.rename('src', 'moved'); os.symlink('/usr', 'src')",
    "link that leads elsewhere": "os.remove('link'); os.symlink('/etc/passwd', 'link')",
    "pipe in place of a file": "os.remove('app.py'); os.mkfifo('app.py')",
    "hard link": "os.link('app.py', 'kept')",
    "files swapped": "os.rename('app.py', 'x'); os.rename('tool.sh', 'app.py'); os.rename('x', 'tool.sh')",
    "two names for one file": "os.remove('tool.sh'); os.link('app.py', 'tool.sh')",
    "scratch folder": "open(os.environ['HOME'] + '/planted', 'w'); os.makedirs(os.environ['HOME'] + '/a/b')",
    "predictable name in /tmp": "os.symlink('/etc/passwd', os.environ['TMPDIR'] + '/pytest-of-user')",
    "extended attribute": """
        for place in ('app.py', 'src', '.'):
            try:
                os.setxattr(place, 'user.note', b'remember')
            except OSError:
                pass
    """,
    "deep tree": """
        for _ in range(1500):
            os.mkdir('deeper')
            os.chdir('deeper')
        open('end', 'w')
    """,
    "many files": "for n in range(1000): os.mknod(f'file-{n}')",
    "names that are no text": "open(b'\\xff\\xfe bad', 'w'); os.mkdir(b'\\xff dir'); open('new\\nline', 'w')",
    "names that the cleaner uses": "os.makedirs('a/removed-0/removed-1'); os.makedirs('removed-0/a')",
}


@pytest.mark.parametrize("trace", TRACES)
def test_no_trace_is_left(anywhere: Bench, trace: str) -> None:
    """After a reset, no file, mode, link or attribute differs from those of a new box."""
    done = anywhere.python("import os\n" + textwrap.dedent(TRACES[trace]))
    assert (done.exit_code, done.output) == (0, "")
    anywhere.reset()
    assert anywhere.fingerprint() == anywhere.pristine


@pytest.mark.parametrize("trace", ["new file", "changed through a shared mapping", "mode of a folder", "hard link"])
def test_traces_can_be_seen(anywhere: Bench, trace: str) -> None:
    """The comparison above is worth something: without a reset it fails."""
    anywhere.python("import os\n" + textwrap.dedent(TRACES[trace]))
    assert anywhere.fingerprint() != anywhere.pristine


def test_applied_changes_are_taken_back(anywhere: Bench) -> None:
    """A candidate's own files are gone with it."""
    anywhere.apply({"app.py": b"changed", "fresh/file": b"new", "src/deep/data.txt": None})
    assert anywhere.fingerprint() != anywhere.pristine
    anywhere.reset()
    assert anywhere.fingerprint() == anywhere.pristine


def test_shared_memory_is_cleared(bench: Bench) -> None:
    """Files in /dev/shm, System V segments and queues, which outlive their processes, do not outlive a reset."""
    code = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        open("/dev/shm/planted", "w")
        print(libc.shmget(4711, 4096, 0o1600) >= 0, libc.msgget(4711, 0o1600) >= 0, libc.semget(4711, 1, 0o1600) >= 0)
    """
    look = "ls /dev/shm; tail -qn +2 /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem"
    assert bench.python(code).output == "True True True\n"
    assert len(bench.shell(look).output.splitlines()) == 4
    bench.reset()
    assert bench.shell(look).output == ""


def test_message_queues_cannot_be_made(bench: Bench) -> None:
    """A POSIX queue outlives its processes, and cannot be seen everywhere: none can be made."""
    code = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.mq_open(b"/queue", os.O_CREAT | os.O_RDWR, 0o600, None), os.strerror(ctypes.get_errno()))
    """
    assert bench.python(code).output == "-1 Too many open files\n"


def test_kernel_keys_cannot_be_made(bench: Bench) -> None:
    """A kernel keyring would pass notes between candidates, and hold the host user's keys."""
    add_key = 248 if os.uname().machine == "x86_64" else 217
    code = f"""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.syscall({add_key}, b"user", b"note", b"x", 1, -4), os.strerror(ctypes.get_errno()))
    """
    assert bench.python(code).output == "-1 Operation not permitted\n"


def test_times_of_the_base_are_kept(anywhere: Bench) -> None:
    """Files bear the base's times, so that a build that goes by times does nothing needless."""
    result = anywhere.python("import os; print(os.stat('app.py').st_mtime_ns)")
    assert int(result.output) == (anywhere.base.root / "app.py").stat().st_mtime_ns
