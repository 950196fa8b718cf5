"""Two sides of TLS that meet over a pair of sockets of this process."""

import socket
import ssl
import threading
from typing import NamedTuple

WAIT_SECONDS = 20.0


class Meeting(NamedTuple):
    """What came of it.

    Attributes:
      server, client: a side's connection, or the error that ended it.
      received: by the server, of the four bytes that the client sends.
    """

    server: ssl.SSLSocket | OSError
    client: ssl.SSLSocket | OSError
    received: bytes


def meet(server: ssl.SSLContext, client: ssl.SSLContext, host="localhost") -> Meeting:
    """Handshake; the client sends "ping", the server "pong"."""
    ours, theirs = socket.socketpair()
    outcome = {"received": b""}

    def listen():
        try:
            tls = server.wrap_socket(theirs, server_side=True)
            outcome["received"] = tls.recv(4)
            tls.sendall(b"pong")
            outcome["server"] = tls
        except OSError as wrong:
            outcome["server"] = wrong
            theirs.close()

    for one in (ours, theirs):
        one.settimeout(WAIT_SECONDS)
    thread = threading.Thread(target=listen)
    thread.start()
    try:
        tls = client.wrap_socket(ours, server_hostname=host)
        tls.sendall(b"ping")
        if tls.recv(4) != b"pong":
            raise ConnectionResetError("the server has gone")
        outcome["client"] = tls
    except OSError as wrong:
        outcome["client"] = wrong
        ours.close()
    thread.join()
    return Meeting(**outcome)


def is_met(meeting: Meeting) -> bool:
    """Whether both sides took the other."""
    taken = isinstance(meeting.server, ssl.SSLSocket)
    return taken and isinstance(meeting.client, ssl.SSLSocket)
