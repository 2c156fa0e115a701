"""The pick page's server without a browser: who may ask, what it answers, and what it refuses."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time

import pytest

from m3d_cli.errors import UsageError
from m3d_cli.metrology.pick.server import LOOPBACK, MOST_BODY, PickServer, PickService


def refuse(content):
    raise UsageError("no <b>", hint="why")


@pytest.fixture
def server():
    service = PickService(b"\xff\xd8", {"photo": "a"}, lambda content: {"got": content}, refuse)
    with PickServer(service) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    method = "GET" if body is None else "POST"
    kind = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, body, {**kind, **{k.replace("_", "-"): v for k, v in headers.items()}})
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply, data


def test_the_page_the_photo_and_the_answers(server):
    base = f"/{server.token}/"
    page, data = ask(server, base)
    assert page.status == 200
    assert b"<canvas" in data
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert ask(server, base + "photo.jpg")[1] == b"\xff\xd8"
    assert json.loads(ask(server, base + "info")[1]) == {"photo": "a"}
    assert json.loads(ask(server, base + "measure", '{"a": 1}')[1]) == {"got": {"a": 1}}
    reply, data = ask(server, base + "save", "{}")
    assert (reply.status, json.loads(data)["error"]["hint"]) == (400, "why")


def test_it_listens_on_this_computer_only_under_a_long_secret(server):
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    assert server.address.endswith(f"/{server.token}/")


@pytest.mark.parametrize("path", ["/", "/x/", "/x/info", "", "/%00/info", "/../info"])
def test_without_the_secret_nothing_is_sent(server, path):
    reply, data = ask(server, path or "/?")
    assert reply.status == 403
    assert server.token.encode() not in data


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_foreign_page_is_refused_even_with_the_secret(server, headers):
    for body in (None, "{}"):
        assert ask(server, f"/{server.token}/measure", body, **headers)[0].status == 403


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("nonsense", {}, 400),
        ("[1]", {}, 400),
        ("[" * 100_000, {}, 400),
        ("{}", {"Content_Type": "text/plain"}, 415),
        ("{}", {"Content_Length": str(MOST_BODY + 1)}, 413),
        ("{}", {"Content_Length": "9" * 5000}, 413),
        ("{}", {"Content_Length": "-1"}, 411),
    ],
)
def test_malformed_bodies_are_refused(server, body, headers, status):
    assert ask(server, f"/{server.token}/measure", body, **headers)[0].status == status


def test_what_is_not_there(server):
    assert ask(server, f"/{server.token}/secret")[0].status == 404
    assert ask(server, f"/{server.token}/other", "{}")[0].status == 404


def test_a_client_that_goes_away_leaves_no_traceback(capfd):
    service = PickService(b"\xff" * 20_000_000, {"name": "a.jpg"}, refuse, refuse)
    with PickServer(service) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        for _ in range(3):
            with socket.create_connection((LOOPBACK, running.server_port)) as client:
                host = f"{LOOPBACK}:{running.server_port}"
                client.sendall(f"GET /{running.token}/photo.jpg HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                client.recv(10)
                # Closing with a reset, as a browser tab that is closed while it loads.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.3)
        running.shutdown()
        thread.join()
    assert "Traceback" not in capfd.readouterr().err
