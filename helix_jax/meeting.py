"""The meeting point of a run's processes: JSON lines over TCP, to and from process 0.

    process -> meeting   hello, gather (one value of each process), beat, bye or failed
    meeting -> process   met, gathered (the values of all), beat, lost, refused

A killed process closes its connection, so all others know at once; one whose machine is
gone is recognised by its silence. The port has no password: it must be reachable only
on the network of the cluster.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from helix_jax.errors import ProcessError

BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
LONGEST_LINE = 1 << 26  # bytes of one message
KILLED = "ended without a word: it was killed, or its machine is gone"


class Link:
    """One end of a connection: messages out, whole or not at all; messages in."""

    def __init__(self, connection: socket.socket):
        """It ends after SILENT_SECONDS of silence."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(SILENT_SECONDS)
        self._connection, self._one = connection, threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message; the reading side detects a closed end."""
        line = json.dumps(message).encode() + b"\n"
        with self._one, contextlib.suppress(OSError):
            self._connection.sendall(line)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Incoming messages, until the other end is gone, silent or invalid."""
        lines = self._connection.makefile("rb")
        with contextlib.suppress(OSError, ValueError), lines:
            while line := lines.readline(LONGEST_LINE):
                message = json.loads(line)
                if not isinstance(message, dict):
                    return
                yield message

    def close(self) -> None:
        """End the connection; both ends see it."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class Meeting:
    """The meeting of `count` processes, run by process 0 in separate threads."""

    def __init__(self, host: str, port: int, count: int, *, seconds: float):
        """Open the port.

        Args:
          host: as the processes call it; for a loopback address only that is bound, for
            any other name every interface.
          port: to listen on.
          count: of processes.
          seconds: in which all must have joined.

        Raises:
          ProcessError: the port is not available.
        """
        own = host if host in ("localhost", "127.0.0.1", "::1") else ""
        family = socket.AF_INET6 if own == "::1" else socket.AF_INET
        try:
            self._listener = socket.create_server((own, port), family=family)
        except (OSError, OverflowError) as error:
            raise ProcessError(
                f"process 0 cannot listen on port {port} ({error}). Another run may "
                "use it: give all processes another one in --coordinator=HOST:PORT."
            ) from error
        self._count, self._seconds = count, seconds
        self._change = threading.Condition()
        self._members: dict[int, Link] = {}
        self._values: dict[int, dict[int, tuple[str, Any]]] = {}
        self._left: set[int] = set()
        self._over: dict[str, Any] = {}  # what has ended it, for latecomers
        for work in (self._accept, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def close(self, *, seconds: float) -> None:
        """Close the port, once all have left or after so many seconds."""
        with self._change:
            self._change.wait_for(lambda: self._left >= self._members.keys(), seconds)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            link = Link(connection)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _watch(self) -> None:
        """Show that process 0 lives; refuse the meeting if some are late."""
        until = time.monotonic() + self._seconds
        while len(self._left) < self._count:
            with self._change:
                left = max(until - time.monotonic(), 0)
                here = self._change.wait_for(self._all_here, min(BEAT_SECONDS, left))
                if not here and time.monotonic() >= until:
                    self._tell(refused=self._missing())
                    return
                self._tell(beat=1)
            if here:
                time.sleep(BEAT_SECONDS)

    def _all_here(self) -> bool:
        return len(self._members) == self._count

    def _missing(self) -> str:
        missing = sorted(set(range(self._count)) - self._members.keys())
        return (
            f"{named(missing)} of {self._count} did not join within {self._seconds:g} "
            "seconds. Start all of them, with the same --coordinator and --processes; "
            "--meeting_seconds waits longer."
        )

    def _serve(self, link: Link) -> None:
        """Listen to one process to its end."""
        messages = link.messages()
        index = self._join(link, next(messages, {}))
        if index is None:
            return
        why = KILLED
        for message in messages:
            if "gather" in message:
                self._gather(index, message)
            elif "bye" in message or "failed" in message:
                why = message.get("failed", "")
                break
        with self._change:
            self._left.add(index)
            if why:
                self._tell(lost=index, why=why)
            self._change.notify_all()
        link.close()

    def _join(self, link: Link, hello: dict[str, Any]) -> int | None:
        """The index of a process that belongs here; others are refused."""
        index, count = hello.get("hello"), hello.get("of")
        with self._change:
            if not isinstance(index, int):
                link.close()  # not a process of a run
                return None
            reason = ""
            if count != self._count:
                reason = (
                    f"process {index} was started with --processes={count}, process 0 "
                    f"with --processes={self._count}. Give all the same."
                )
            elif index in self._members:
                reason = (
                    f"two processes have --process={index}. Number them from 0 to "
                    f"{self._count - 1}, and end what is left of an earlier run."
                )
            if reason:
                link.send(refused=reason)
                self._tell(refused=reason)
                link.close()
                return None
            self._members[index] = link
            if self._over:
                link.send(**self._over)
            elif self._all_here():
                self._tell(met=1)
            self._change.notify_all()
        return index

    def _gather(self, index: int, message: dict[str, Any]) -> None:
        """Keep one value; once all values of this turn are in, send them to all."""
        turn = message["gather"]
        with self._change:
            values = self._values.setdefault(turn, {})
            values[index] = message["name"], message["value"]
            if len(values) < self._count:
                return
            names, found = zip(*(values[one] for one in range(self._count)))
            del self._values[turn]
            self._tell(gathered=turn, names=names, values=found)

    def _tell(self, **message: Any) -> None:
        with self._change:
            if "refused" in message or "lost" in message:
                self._over = self._over or message
            for index, link in self._members.items():
                if index not in self._left:
                    link.send(**message)


def named(indices: list[int]) -> str:
    """ "process 1", or "processes 1 and 3"."""
    if len(indices) == 1:
        return f"process {indices[0]}"
    *most, last = map(str, indices)
    return f"processes {', '.join(most)} and {last}"
