"""A relay on loopback between a client and a server, which can fail on the way."""

import contextlib
import socket
import threading
from collections.abc import Callable


class Relay:
    """Passes bytes on to a port, until a connection has sent too many.

    Attributes:
      url: where it listens.
      cuts: how often it has cut a connection.
    """

    def __init__(
        self, port: int, *, after: int, most: int = 1, cut: Callable = lambda: None
    ):
        """Nothing listens yet.

        Args:
          port: of the server.
          after: bytes, of all connections, after which one is cut.
          most: cuts, each after as many bytes more.
          cut: called at a cut, when the server has got a head and one half of its body.
        """
        self._port, self._after, self._most, self._cut = port, after, most, cut
        self._sent, self._one, self.cuts = 0, threading.Lock(), 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for way in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=way, daemon=True).start()

    def _pass(self, source, sink, upwards):
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if upwards and self._is_cut(len(data)):
                    # Python's servers take a head that ends within for a whole one.
                    head, end, body = data.rpartition(b"\r\n\r\n")
                    sink.sendall(head + end + body[: len(body) // 2])
                    self._cut()
                    break
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, count):
        with self._one:
            self._sent += count
            if self.cuts == self._most or self._sent < self._after * (self.cuts + 1):
                return False
            self.cuts += 1
            return True
