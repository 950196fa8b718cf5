"""What a container asks: 200 is ready, all else is not, and nobody else is asked."""

import http.server
import subprocess
import sys
import threading

import pytest

from helix_jax.health_check import is_ready
from helix_jax.net.certificate_files import pair_of
from helix_jax.net.tls import server_context


class Health(http.server.BaseHTTPRequestHandler):
    """Answers with the status of its server, at the one path."""

    def do_GET(self):
        right = self.path == "/health/ready" and "authorization" not in self.headers
        self.send_response(self.server.health if right else 404)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def listening():
    made = []

    def start(health, context=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
        server.health = health
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        made.append((server, thread))
        return f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in made:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("health", "ready"), [(200, True), (204, False), (503, False)])
def test_ready_is_what_answers_with_200(listening, certificates, health, ready):
    context = server_context(*pair_of(certificates, "server"))
    assert is_ready(listening(health, context)) is ready
    assert is_ready(listening(health)) is ready


def test_nobody_there_is_not_ready(listening):
    url = listening(200)
    assert is_ready(url)
    assert not is_ready(url.replace("http:", "https:"))
    assert not is_ready("https://127.0.0.1:1")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8443", "https://127.0.0.1", "https://example.org:8443"]
)
def test_other_machines_are_not_asked(url):
    with pytest.raises(ValueError, match="expected http"):
        is_ready(url)


def test_the_program_says_so_by_its_status(listening):
    for health, status in ((200, 0), (503, 1)):
        words = [sys.executable, "-m", "helix_jax.health_check", listening(health)]
        assert subprocess.run(words, check=False).returncode == status
