"""The processes and ports that benchmarks of services are measured by."""

import os
import socket
import sys
import threading

import pytest

from benchmarks.service_processes import counted_port, started

TALKS = """
import json, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print("a line of words")
print(json.dumps({"child": child.pid}), flush=True)
for line in sys.stdin:
    print(json.dumps({"twice": 2 * json.loads(line)["n"]}), flush=True)
"""


def test_a_process_answers_line_by_line_and_is_counted_with_those_below_it():
    with started([sys.executable, "-c", TALKS]) as process:
        assert process.turn({"n": 21}) == {"twice": 42}
        assert set(process.family()) == {process.process.pid, process.said["child"]}
        assert 5e6 < process.resident_bytes() <= process.peak_bytes()
        assert process.processor_seconds() > 0
    assert process.process.returncode is not None
    assert process.family() == []


def test_a_process_that_ends_says_why():
    failing = "import sys; sys.exit('no such model')"
    with (
        pytest.raises(SystemExit, match=r"status 1:\nno such model"),
        started([sys.executable, "-c", failing]),
    ):
        pass


def test_a_counted_port_passes_every_byte_and_counts_both_ways():
    sent, answered = os.urandom(300_000), os.urandom(700_000)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            near, _ = server.accept()
            with near, near.makefile("rb") as stream:
                assert stream.read(len(sent)) == sent
                near.sendall(answered)

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            counted_port(server.getsockname()[1]) as counted,
            socket.create_connection(("127.0.0.1", counted.port)) as client,
            client.makefile("rb") as stream,
        ):
            client.sendall(sent)
            assert stream.read() == answered
            assert (counted.up, counted.down) == (len(sent), len(answered))
        thread.join()
