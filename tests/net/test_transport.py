"""What a client takes from a service that is not one of ours."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helix_jax.net import ServiceError, Transport

ANSWERS = {
    "/large": (200, {}, b"x" * 2_000_000),
    "/packed": (200, {"content-encoding": "gzip"}, b"\x1f\x8b" + bytes(100)),
    "/page": (502, {}, b"<html>a proxy</html>"),
    "/strange": (400, {}, b'{"error": "of another release"}'),
    "/deep": (400, {}, b"[" * 100_000),
}


@pytest.fixture(scope="module")
def stranger():
    """A server that answers whatever it likes."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = ANSWERS[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/large", "malformed", "more than 1000000 bytes"),
        ("/packed", "malformed", "compressed"),
        ("/page", "unknown", "502 b'<html>"),
        ("/strange", "unknown", "400"),
        ("/deep", "unknown", "400"),
    ],
)
def test_answers_that_are_none_are_refused(stranger, path, code, message):
    async def ask():
        options = {"plain_http": True, "patience_seconds": 0.2}
        transport = Transport(stranger, answer_bytes=1_000_000, **options)
        try:
            await transport.ask("GET", path)
        finally:
            await transport.close()

    with pytest.raises(ServiceError, match=message) as refused:
        asyncio.run(ask())
    assert refused.value.code == code
