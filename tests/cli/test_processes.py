"""The command as people start it: real processes, real key derivation. Few, because that costs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*words: str, cwd: Path, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
    """In a session of its own: without a terminal, whoever runs the tests."""
    return subprocess.run(
        [sys.executable, "-m", "vaultsync", *words],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def environment(**env: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VAULTSYNC_")}
    return kept | {"PYTHONPATH": str(ROOT), "VAULTSYNC_PASSWORD": "pw", "PYTHONIOENCODING": "utf-8"} | env


def ok(*words: str, cwd: Path, **env: str) -> str:
    done = run(*words, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_first_day(tmp_path: Path) -> None:
    """Create, import, list, edit, join at an older release, sync: by the commands of the guide."""
    from vaultsync.importers.sample import write_bitwarden

    items = int(os.environ.get("VAULTSYNC_ITEMS", "200"))
    write_bitwarden(tmp_path / "export.json", items)
    old = {"VAULTSYNC_SCHEMA_VERSION": "2", "VAULTSYNC_PLATFORM": "android"}
    seconds: dict[str, float] = {}

    def step(*words: str, **env: str) -> str:
        started = time.monotonic()
        out = ok(*words, cwd=tmp_path, **env)
        seconds[words[0] + (" (older)" if env else "")] = round(time.monotonic() - started, 2)
        return out

    code = json.loads(step("create", "a.vault", "--device", "Laptop", "--json"))["recovery_code"]
    assert len(json.loads(step("import", "a.vault", "export.json", "--json"))["added"]) == items
    listed = json.loads(step("list", "a.vault", "--json"))
    login = next(entry for entry in listed if entry["type"] == "login")
    step("edit", "a.vault", login["id"], "username=changed")
    step("connect", "a.vault", "shared")
    step("join", "b.vault", "shared", "--device", "Phone", VAULTSYNC_CODE=code, **old)
    step("edit", "a.vault", login["id"], "username=again")
    step("sync", "b.vault", **old)
    there = json.loads(step("show", "b.vault", login["id"], "--json", **old))
    assert there["fields"]["username"] == "again"
    status = json.loads(step("status", "b.vault", "--json", **old))
    assert status["counts"]["hidden"] == sum(e["type"] in ("ssh_key", "bank_account") for e in listed)
    print(items, "items:", seconds)


def test_errors_without_a_traceback(tmp_path: Path) -> None:
    ok("create", "a.vault", cwd=tmp_path)
    for words, env, status in (
        (("list", "a.vault"), {"VAULTSYNC_PASSWORD": "no"}, 1),
        (("list", "b.vault"), {}, 1),
        (("create", "a.vault"), {}, 1),
        (("import", "a.vault", "nope.json"), {}, 1),
        (("list", "--frob"), {}, 2),
    ):
        done = run(*words, cwd=tmp_path, **env)
        assert done.returncode == status
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
    environ = environment()
    del environ["VAULTSYNC_PASSWORD"]
    done = subprocess.run(
        [sys.executable, "-m", "vaultsync", "list", "a.vault"], cwd=tmp_path, env=environ, capture_output=True,
        text=True, check=False, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no terminal to ask" in done.stderr


def test_the_demo_in_time_and_gone_afterwards(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run("demo", cwd=tmp_path, TMPDIR=str(tmp_path), COLUMNS="80", NO_COLOR="1")
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
    limit = 15 if os.getloadavg()[0] < (os.cpu_count() or 1) else 60
    assert seconds < limit


def test_the_demo_can_be_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = run("demo", "--keep", str(kept), cwd=tmp_path, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    commands = re.findall(r"(?m)^\s*vaultsync (list .*?)\s*$", done.stdout)
    assert len(commands) == 2
    for command in commands:
        assert "Login" in ok(*command.split(), cwd=tmp_path, VAULTSYNC_PASSWORD="demo")
    again = run("demo", "--keep", str(kept), cwd=tmp_path)
    assert again.returncode == 1
    assert "not an empty folder" in again.stderr


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_interrupted_quietly(tmp_path: Path) -> None:
    # A shell's background jobs ignore the signal, and so do their children: a test run there must not tell otherwise.
    start = (
        "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('vaultsync', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start, "demo"], cwd=tmp_path, env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_password_is_asked_for_and_not_echoed(tmp_path: Path) -> None:
    import pty

    environ = environment(TERM="xterm")
    del environ["VAULTSYNC_PASSWORD"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "-m", "vaultsync", "create", "a.vault"], environ)  # noqa: S606
    seen = b""
    for _ in range(2):
        while not re.search(rb": $", seen[-40:]):
            seen += os.read(terminal, 1000)
        os.write(terminal, b"hush-hush\n")
        seen += b"|"
    try:
        while chunk := os.read(terminal, 1000):
            seen += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"hush" not in seen
    assert b"recovery code" in seen


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from vaultsync.cli.entry import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "vaultsync[cli]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    command = f"{sys.executable} -m vaultsync schema login --json | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment(), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_help_loads_no_vault() -> None:
    """What makes the difference between a fifth of a second and a whole one."""
    code = (
        "import sys, vaultsync.cli.entry as e; sys.argv = ['vaultsync', '--help']; e.main(); "
        "print([m for m in ('vaultsync.vault.vault', 'automerge', 'cryptography', 'sqlite3') if m in sys.modules], "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
