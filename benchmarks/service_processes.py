"""Processes of services and their clients: resources, and the bytes between them.

    with started(command) as service:
        service.said["port"], service.processor_seconds(), service.resident_bytes()

    with counted_port(port) as counted:  # a client connects to counted.port
        counted.up, counted.down

Linux only: the numbers come from /proc.
"""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def json_line(line: str) -> Any:
    """The value of a line of JSON; None for any other line."""
    return json.loads(line) if line.startswith("{") else None


class Started:
    """A process that communicates in lines, with the processes that it started.

    Attributes:
      said: the value of its first line that has one.
    """

    def __init__(
        self, process: subprocess.Popen, errors: Any, first: Callable[[str], Any]
    ) -> None:
        self.process = process
        self._errors = errors
        self.said = self._read(first)

    def turn(self, request: Mapping[str, Any]) -> Any:
        """Its answer to one line of JSON."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read(json_line)

    def processor_seconds(self) -> float:
        """Processor seconds of it and all below it, including reaped processes."""
        return sum(
            sum(map(int, _stat(number)[11:15])) / _TICKS for number in self.family()
        )

    def resident_bytes(self) -> int:
        """Memory of it and all below it; shared pages count once per process."""
        return sum(self.resident_of_each())

    def resident_of_each(self) -> list[int]:
        """Memory of it, and of each process below it."""
        return [_field(number, "VmRSS") for number in self.family()]

    def peak_bytes(self) -> int:
        """The sum of the peak sizes of it and of each process below it."""
        return sum(_field(number, "VmHWM") for number in self.family())

    def family(self) -> list[int]:
        """Process ids of the process and of all below it."""
        parents = {
            int(entry.name): int(stat[1])
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and (stat := _stat(int(entry.name)))
        }
        found = [self.process.pid]
        for number in found:
            found += [child for child, parent in parents.items() if parent == number]
        return [number for number in found if number in parents]

    def _read(self, read: Callable[[str], Any]) -> Any:
        for line in self.process.stdout:
            if (found := read(line)) is not None:
                return found
        self.process.wait()
        self._errors.seek(0)
        raise SystemExit(
            f"{' '.join(map(str, self.process.args))} ended with status "
            f"{self.process.returncode}:\n{self._errors.read()[-2000:]}"
        )


@contextlib.contextmanager
def started(
    command: Sequence[str], first: Callable[[str], Any] = json_line
) -> Iterator[Started]:
    """Start a process, wait for its first line, and end it when the block ends.

    Args:
      command: program and arguments.
      first: the value of a line that shows that the process is ready; None for others.

    Raises:
      SystemExit: it ended; the message ends with the end of its output.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield Started(process, errors, first)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()


class CountedPort:
    """A port that forwards to another, and the bytes that went either way.

    Attributes:
      port: this port.
      up, down: bytes to the other port and from it, with TLS but without TCP headers.
    """

    def __init__(self, target: int) -> None:
        self.up = self.down = 0
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for ends in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                # Counted before forwarding: whoever has the answer sees the full sum.
                setattr(self, way, getattr(self, way) + len(piece))
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def counted_port(target: int) -> Iterator[CountedPort]:
    """A `CountedPort` that ends with the block."""
    port = CountedPort(target)
    try:
        yield port
    finally:
        port.close()


def _stat(number: int) -> list[str]:
    """Fields of /proc/N/stat after the name; none if the process is gone."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _field(number: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else 0
