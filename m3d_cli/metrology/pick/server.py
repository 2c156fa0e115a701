"""A small server for one person on this computer: loopback only, a secret in the address, no connection kept open.

Every request must name this server as its host (a foreign page that rebinds a name to 127.0.0.1 does not) and carry the
secret; a body has a limit.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from m3d_cli.errors import M3dError
from m3d_cli.html_pages import environment, inline, policy_hash

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MOST_BODY = 1_000_000
# A client that sends nothing is not waited for longer.
TIMEOUT_SECONDS = 15.0

Answer = Callable[[Any], dict[str, Any]]

_HERE = "m3d_cli.metrology.pick"


@dataclass(frozen=True, slots=True, eq=False)
class PickService:
    """What the page requests: the photo as JPEG, ``info`` about it, and answers to ``measure`` and ``save``."""

    photo: bytes
    info: dict[str, Any]
    measure: Answer
    save: Answer


class PickServer(ThreadingHTTPServer):
    """The server of one photo; ``address`` is where the page is."""

    daemon_threads = True

    def __init__(self, service: PickService) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.service = service
        self.token = secrets.token_urlsafe(24)
        self.page, self.policy = pick_page()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or a request that broke, ends its thread; nothing else, and without a traceback."""
        logger.info("a request of the page ended early", exc_info=True)

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that a request may carry."""
        return frozenset({f"{LOOPBACK}:{self.server_port}", f"localhost:{self.server_port}"})

    @property
    def address(self) -> str:
        """The page's address, with its secret."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"


def pick_page() -> tuple[str, str]:
    """The page, and its content security policy: its own style and script, its own server, nothing else."""
    style, script = inline(_HERE, "pick.css"), inline(_HERE, "pick.js", "pick_items.js")
    policy = (
        f"default-src 'none'; img-src 'self'; connect-src 'self'; style-src '{policy_hash(style)}'; "
        f"script-src '{policy_hash(script)}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return environment(_HERE).get_template("pick.html").render(style=style, script=script), policy


def error_content(error: M3dError) -> dict[str, str]:
    """An error as the page shows it."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


class _BadRequest(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Handler(BaseHTTPRequestHandler):
    server: PickServer
    timeout = TIMEOUT_SECONDS
    server_version = "m3d"
    sys_version = ""

    def do_GET(self) -> None:
        place = self._place()
        if place == "":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page.encode())
        elif place == "photo.jpg":
            self._send(HTTPStatus.OK, "image/jpeg", self.server.service.photo)
        elif place == "info":
            self._send_json(HTTPStatus.OK, self.server.service.info)
        elif place is not None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")

    def do_POST(self) -> None:
        place = self._place()
        if place is None:
            return
        answer = {"measure": self.server.service.measure, "save": self.server.service.save}.get(place)
        if answer is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
            return
        try:
            self._send_json(HTTPStatus.OK, answer(self._content()))
        except _BadRequest as bad:
            self._refuse(bad.status, bad.message)
        except M3dError as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": error_content(error)})
        except OSError:
            self.close_connection = True  # the page is gone
        except Exception as error:  # noqa: BLE001 - the page stays open whatever one request meets
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _place(self) -> str | None:
        """The path below the secret; None when the request was refused."""
        try:
            self._check_sender()
        except _BadRequest as bad:
            self._refuse(bad.status, bad.message)
            return None
        return self.path.removeprefix("/").partition("/")[2]

    def _check_sender(self) -> None:
        if self.headers.get("Host", "") not in self.server.hosts:
            raise _BadRequest(HTTPStatus.FORBIDDEN, "requests must carry the server's own address")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.server.hosts}:
            raise _BadRequest(HTTPStatus.FORBIDDEN, "requests must come from the server's own page")
        token = self.path.removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            raise _BadRequest(HTTPStatus.FORBIDDEN, "the address lacks its secret")

    def _content(self) -> dict[str, Any]:
        """The JSON object in the body."""
        if self.headers.get_content_type() != "application/json":
            raise _BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _BadRequest(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing or malformed")
        if len(length) > 9 or int(length) > MOST_BODY:
            raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BODY} bytes")
        try:
            content = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _BadRequest(HTTPStatus.BAD_REQUEST, "not JSON") from error
        if not isinstance(content, dict):
            raise _BadRequest(HTTPStatus.BAD_REQUEST, "not a JSON object")
        return content

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True
        self._send_json(status, {"error": {"code": status.phrase, "message": message, "hint": ""}})

    def _send_json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: their addresses hold the secret."""
