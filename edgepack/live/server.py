"""The live page's server: this machine only, behind a token that nobody can guess.

It listens on 127.0.0.1 alone. Another user of the machine, or a web page that is open in the
same browser, could still knock: so every path begins with a random token (128 bits, compared
in constant time), the Host header must be the address that was bound (which ends DNS
rebinding), and the page's policy allows its own script, style and event stream and nothing
else. There is nothing to write to: only GET is answered.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from types import TracebackType

from edgepack.live.board import Board

ADDRESS = "127.0.0.1"
#: A comment is sent down a silent stream this often, so that a page that went away is noticed.
KEEP_ALIVE_S = 5.0
#: More pages than this at once are turned away: each holds a thread.
MOST_STREAMS = 16
#: How long `close` waits for pages to be told of the end.
CLOSING_S = 2.0
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "": ("live.html", "text/html"),
    "live.css": ("live.css", "text/css"),
    "live.js": ("live.js", "text/javascript"),
}


class LiveServer:
    """Serves one board from a thread of its own until it is closed. A context manager."""

    def __init__(self, board: Board, port: int = 0) -> None:
        self._token = secrets.token_urlsafe(16)
        self._server = _Server((ADDRESS, port), board, self._token)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address, with the token."""
        return f"http://{self._server.host}/{self._token}/"

    def close(self) -> None:
        """Answer nobody any more, once the open pages have been told of the end."""
        self._server.streams_over.wait(CLOSING_S)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], board: Board, token: str) -> None:
        super().__init__(address, _Handler)
        self.board = board
        self.token = token
        self.host = f"{ADDRESS}:{self.server_address[1]}"
        self.streams_over = threading.Event()
        self.streams_over.set()
        self._streams = 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Take one of the places for streams; False when there is none."""
        with self._lock:
            if self._streams >= MOST_STREAMS:
                return False
            self._streams += 1
            self.streams_over.clear()
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._streams -= 1
            if not self._streams:
                self.streams_over.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that went away in the middle of an answer is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 30
    server_version = "edgepack"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer the page, its two files and its stream; refuse everything else."""
        name = self._allowed()
        if name is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif name == "events":
            self._stream()
        elif name in _FILES:
            self._file(*_FILES[name])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the run."""

    def end_headers(self) -> None:
        """Every answer carries the same restrictions."""
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def _allowed(self) -> str | None:
        """What is asked for, below the token; None for whoever may not ask."""
        if self.headers.get_all("Host") != [self.server.host]:
            return None
        token, slash, name = self.path.removeprefix("/").partition("/")
        same = hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        return name if same and slash else None

    def _file(self, name: str, kind: str) -> None:
        body = (resources.files("edgepack.live") / "static" / name).read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Server-Sent Events: the whole state after each change, until the run ends."""
        if not self.server.enter():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Connection", "close")
            self.end_headers()
            for state in self.server.board.changes(KEEP_ALIVE_S):
                # One line of JSON: no text in it can begin a field of the stream.
                said = ": still here\n\n" if state is None else f"data: {state}\n\n"
                self.wfile.write(said.encode())
                self.wfile.flush()
        finally:
            self.server.leave()
