"""What hostile commands cannot do: each test attacks one property of the sandboxes that isolate."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swarmcode.errors import SandboxUnavailable
from swarmcode.sandbox.host import BASE, PLACE
from swarmcode.sandbox.protocol import Base, Limits

if TYPE_CHECKING:
    from conftest import Bench

MB = 1 << 20


def test_nothing_outside_the_tree_can_be_written(bench: Bench) -> None:
    """Neither the system, nor the toolchain, nor the base, nor the supervisor can be written, whatever is tried."""
    places = ["/", "/usr", "/usr/bin", "/etc", "/dev", "/root", PLACE, BASE, f"{PLACE}/supervisor", f"{PLACE}/lib"]
    places += [str(mount) for mount in bench.toolchain.mounts]
    result = bench.python(
        f"""
        import os
        for place in {places!r}:
            try:
                os.chmod(place, 0o777)
                print("changed", place)
            except OSError:
                pass
            try:
                open(os.path.join(place, "planted"), "w")
                print("written", place)
            except OSError:
                pass
        """
    )
    assert (result.exit_code, result.output) == (0, "")
    assert not list(bench.base.root.glob("planted"))


def test_files_of_the_toolchain_cannot_be_changed(bench: Bench) -> None:
    """The interpreter that judges the next candidate cannot be edited, replaced, or removed."""
    script = 'for f in "$(command -v sh)" /etc/passwd {0} {0}.new; do echo x >> "$f"; rm -f "$f"; done'
    bench.shell(script.format(bench.interpreter) + " 2>/dev/null")
    assert bench.run(bench.interpreter, "-c", "print('whole')").output == "whole\n"


def test_base_cannot_be_changed(bench: Bench) -> None:
    """What a command does to the base's mount reaches neither the base on the host nor the tree after a reset."""
    before = (bench.base.root / "app.py").read_text()
    bench.shell(f"cd {BASE}; chmod 777 app.py; echo bad > app.py; rm -rf src; mv tool.sh other")
    bench.reset()
    assert bench.shell("cat app.py; ls src").output == "print('base')\ndeep\n"
    assert (bench.base.root / "app.py").read_text() == before


def test_no_network(bench: Bench) -> None:
    """There is no way to a server on the host's loopback, to the outside, to a name, or to the hypervisor."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = bench.python(
            f"""
            import socket
            def attempt(name, call):
                try:
                    call()
                    print("reached", name)
                except OSError:
                    pass
            attempt("host", lambda: socket.create_connection(("127.0.0.1", {port}), timeout=1))
            attempt("outside", lambda: socket.create_connection(("192.0.2.1", 80), timeout=1))
            attempt("name", lambda: socket.getaddrinfo("example.org", 80))
            attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
            attempt("hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM))
            print(sorted(name for _, name in socket.if_nameindex() if name == "lo" or "eth" in name))
            """
        )
    assert result.output == "['lo']\n"


def test_a_box_knows_itself(bench: Bench) -> None:
    """Its user, its group and `localhost` are names that resolve, so that tests of servers and of files find them."""
    result = bench.python(
        """
        import getpass, grp, os, pwd, socket
        print(pwd.getpwuid(os.getuid()).pw_name == getpass.getuser(), grp.getgrgid(os.getgid()).gr_name != "")
        with socket.create_server(("localhost", 0)) as server:
            socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
        print("served")
        """
    )
    assert result.output == "True True\nserved\n"


def test_sockets_of_the_host_are_not_there(bench: Bench) -> None:
    """No socket of an engine, a bus or an agent is visible."""
    result = bench.python(
        """
        import os, stat
        for top in ("/run", "/var", "/tmp", os.environ["HOME"]):
            for place, _, names in os.walk(top):
                for name in names:
                    if stat.S_ISSOCK(os.lstat(os.path.join(place, name)).st_mode):
                        print(place, name)
        """
    )
    assert (result.exit_code, result.output) == (0, "")


def test_abstract_sockets_of_the_host_are_not_there(bench: Bench) -> None:
    """A Unix socket without a file belongs to the network namespace: the host's cannot be reached."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0swarmcode-test")
        server.listen()
        code = "import socket; s = socket.socket(socket.AF_UNIX); print(s.connect_ex('\\0swarmcode-test') != 0)"
        assert bench.python(code).output == "True\n"


def test_home_folder_of_the_host_is_hidden(bench: Bench, tmp_path: Path) -> None:
    """Files beside the repository, in home folders and in the host's /tmp are not visible."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    beside = bench.base.home.parent / "beside"
    beside.write_text("hidden")
    homes = {Path.home(), Path(os.path.expanduser("~root")), Path("/home")}
    result = bench.python(
        f"""
        import os
        for path in {[str(secret), str(beside), "/etc/shadow", "/etc/ssh", "/etc/docker"]!r}:
            if os.path.exists(path):
                print("visible", path)
        for home in {[str(home) for home in homes]!r}:
            for place, folders, names in os.walk(home):
                if place in {[str(mount) for mount in bench.toolchain.mounts]!r}:
                    folders.clear()
                elif names:
                    print("visible", place, names)
        """
    )
    assert result.output == ""


def test_environment_of_the_host_is_hidden(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of the box has a variable of the host, and the supervisor's are not even readable."""
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    result = bench.shell("cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/1/environ")
    assert "SECRET_TOKEN" not in result.output
    assert result.exit_code != 0


def test_processes_of_the_host_are_hidden(bench: Bench) -> None:
    """A command sees the supervisor and itself, and nobody else."""
    code = "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [1, os.getpid()])"
    assert bench.python(code).output == "True\n"


def test_command_has_no_privileges(bench: Bench) -> None:
    """No root, no capability in force, no way to gain one, and a filter of system calls."""
    status = bench.shell("cat /proc/self/status").output
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in fields["Uid"].split()
    assert "0" not in fields["Gid"].split()
    assert fields["Groups"].strip() in ("", fields["Gid"].split()[0])
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {0}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("flag", [0x10000000, 0x00020000, 0x40000000], ids=["user", "mount", "network"])
def test_no_new_namespaces(bench: Bench, flag: int) -> None:
    """A command cannot become root of a namespace of its own, neither by unshare nor by clone."""
    code = f"""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.unshare({flag}), os.strerror(ctypes.get_errno()))
        pid = libc.syscall({56 if os.uname().machine == "x86_64" else 220}, {flag} | 17, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        print(pid)
    """
    assert bench.python(code).output == "-1 Operation not permitted\n-1\n"


def test_mounts_cannot_be_made(bench: Bench) -> None:
    """No file system can be mounted or unmounted, so limits of disk cannot be passed by."""
    assert bench.shell("mount -t tmpfs none $HOME || umount /usr").exit_code != 0


def test_devices_are_few(bench: Bench) -> None:
    """Only the harmless devices are there, and none can be made."""
    result = bench.python(
        """
        import os, stat
        for name in sorted(os.listdir("/dev")):
            if os.path.exists("/dev/" + name) and stat.S_ISBLK(os.stat("/dev/" + name).st_mode):
                print("disk", name)
            elif os.path.exists("/dev/" + name) and stat.S_ISCHR(os.stat("/dev/" + name).st_mode):
                if name not in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "stdin"):
                    print("device", name)
        try:
            os.mknod(os.environ["HOME"] + "/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0))
            print("made")
        except PermissionError:
            pass
        """
    )
    assert (result.exit_code, result.output) == (0, "")


def test_fork_bomb_is_contained(bench: Bench) -> None:
    """Forking without end reaches the limit of processes, ends with the command, and the box goes on."""
    bomb = "import os, time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)"
    result = bench.python(bomb, seconds=1.0)
    assert result.killed == "timeout"
    assert result.seconds < 10
    count = "import os; print(len([p for p in os.listdir('/proc') if p.isdigit()]))"
    assert bench.python(count).output == "2\n"


def test_processes_are_counted_per_box(bench: Bench) -> None:
    """No more than `processes` run at once."""
    code = """
        import os, signal
        count = 1
        try:
            while True:
                if os.fork() == 0:
                    signal.pause()
                count += 1
        except BlockingIOError:
            print(count)
    """
    assert 40 <= int(bench.python(code).output) <= 48


def test_disk_is_limited(bench: Bench) -> None:
    """All places that can be written hold `disk_mb` together, and not a megabyte more."""
    result = bench.python(
        """
        import os
        total = 0
        for place in (".", os.environ["HOME"], "/tmp", "/dev/shm"):
            number = 0
            try:
                while True:
                    with open(f"{place}/{number}", "wb", buffering=0) as file:
                        for _ in range(8):
                            total += file.write(bytes(1 << 20))
                    number += 1
            except OSError:
                pass
        print(total)
        """
    )
    assert 100 * MB <= int(result.output) <= 128 * MB
    assert bench.shell("echo full; cat app.py").output == "full\nprint('base')\n"
    bench.reset()
    assert bench.shell("echo x > file && cat file").output == "x\n"


def test_memory_is_limited(bench: Bench) -> None:
    """One process that takes more than the box may have does not get it."""
    result = bench.python("kept = [bytearray(32 << 20) for _ in range(100)]; print('had it all')")
    assert "had it all" not in result.output
    assert result.killed == "memory" or "MemoryError" in result.output
    assert bench.shell("echo on").output == "on\n"


def test_memory_is_limited_for_all_processes_together(bench: Bench) -> None:
    """Many processes that each take a modest share do not get more than the box may have."""
    code = """
        import os, signal
        for _ in range(16):
            if os.fork() == 0:
                kept = bytearray(os.urandom(1 << 20) * 100)
                signal.pause()
        print("lost", os.WTERMSIG(os.wait()[1]))
    """
    result = bench.python(code)
    assert result.killed == "memory" or result.output == "lost 9\n"
    assert bench.shell("echo on").output == "on\n"


def test_memory_without_a_process_is_limited(bench: Bench) -> None:
    """Files in memory count as disk or are refused: memory cannot be hidden where no process is charged for it."""
    code = """
        import os
        try:
            fd = os.memfd_create("hoard")
            print("made", os.fstat(fd).st_size)
        except OSError as error:
            print(error.strerror)
    """
    assert bench.python(code).output == "Function not implemented\n"


def test_supervisor_cannot_be_killed_or_traced(bench: Bench) -> None:
    """A command of the same user can neither signal process 1, nor trace it, nor read its memory or descriptors."""
    result = bench.python(
        """
        import ctypes, os, signal
        for number in range(1, 65):
            if number not in (32, 33):
                os.kill(1, number)
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.ptrace(16, 1, 0, 0))
        for name in ("mem", "environ", "maps", "fd/0"):
            try:
                open(f"/proc/1/{name}", "rb")
                print("opened", name)
            except PermissionError:
                pass
        os.kill(-1, signal.SIGKILL) if os.fork() == 0 else os.wait()
        """
    )
    assert result.output in ("-1\n", "")
    assert bench.shell("echo on").output == "on\n"


def test_supervisor_cannot_be_crippled(bench: Bench) -> None:
    """Limits, priority or affinity that a command takes from the supervisor are not passed on to the next candidate."""
    look = """
        import json, os, resource
        limits = [resource.getrlimit(kind) for kind in range(16)]
        print(json.dumps([limits, os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))]))
    """
    before = json.loads(bench.python(look).output)
    attack = """
        import os, resource
        resource.prlimit(1, resource.RLIMIT_NOFILE, (20, 20))
        os.setpriority(os.PRIO_PROCESS, 1, 15)
        os.sched_setaffinity(1, {min(os.sched_getaffinity(1))})
    """
    assert bench.python(attack).exit_code == 0
    bench.reset()
    assert json.loads(bench.python(look).output) == before


def test_command_that_brings_its_box_down(bench: Bench) -> None:
    """A box that dies under a command is that command's end; the box comes back with the changes that were applied."""
    bench.apply({"app.py": b"print('applied')\n"})
    result = bench.python("import resource, os; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)); os._exit(0)")
    assert (result.exit_code, result.killed) in ((0, ""), (None, ""))
    after = bench.python("print(open('app.py').read())")
    if after.exit_code is None:
        after = bench.python("print(open('app.py').read())")
    assert after.output == "print('applied')\n\n"


def test_repository_that_needs_more_disk_than_there_is(bench: Bench, tmp_path: Path) -> None:
    """A tree that does not fit is said to be so, before anything is run."""
    (tmp_path / "large").write_bytes(bytes(8 * MB))
    with pytest.raises(SandboxUnavailable, match="does not fit into a box of 8 MB"):
        bench.open(Limits(disk_mb=8), Base(root=tmp_path, home=bench.base.home))
