"""Processes that meet over loopback: threads stand for most, killed ones are real."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helix_jax.errors import ProcessError
from helix_jax.meeting import Link, Meeting
from helix_jax.processes import ALONE, meet

ROOT = Path(__file__).parents[1]


@pytest.fixture
def coordinator():
    """HOST:PORT that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def each(coordinator, count, work, *, seconds=20.0, indices=None, of=None):
    """What `work(processes)` gives or raises, in one thread a process."""

    def run(index):
        try:
            processes = meet(coordinator, of or count, index, seconds=seconds)
        except ProcessError as error:
            return error
        found, failure = None, ""
        try:
            found = work(processes)
        except (ProcessError, ValueError) as error:
            found, failure = error, str(error)
        with contextlib.suppress(ProcessError):
            processes.leave(failure)
        return found

    indices = range(count) if indices is None else indices
    with ThreadPoolExecutor(len(indices)) as pool:
        return list(pool.map(run, indices))


def test_one_process_alone():
    assert ALONE.gather("x", [1, 2]) == [[1, 2]]
    assert ALONE.first("x", {"a": 1}) == {"a": 1}
    ALONE.agree("x", {})
    ALONE.check()
    ALONE.leave()


def test_four_gather_and_end(coordinator):
    def work(processes):
        time.sleep(0.02 * processes.index)
        first = processes.first("first", processes.index or "zero")
        return first, processes.gather("all", processes.index**2), processes.count

    assert each(coordinator, 4, work) == [("zero", [0, 1, 4, 9], 4)] * 4


def test_a_difference_is_told_to_all_by_name(coordinator):
    def work(processes):
        processes.agree("flags", {"limit": 4})
        limit = 500 if processes.index == 2 else 400
        processes.agree("flags", {"limit": limit, "of": {"code": "same"}})

    said = {str(one) for one in each(coordinator, 3, work)}
    assert said == {
        "process 2 differs from process 0 in flags: limit is 400 on process 0 and 500 "
        "on process 2. All processes need the same program, flags, code and data."
    }


def test_who_is_elsewhere_in_the_program(coordinator):
    def work(processes):
        processes.wait("a" if processes.index else "b")

    found = [str(one) for one in each(coordinator, 2, work)]
    assert "process 0 is at 'b', process 1 at 'a'" in found[0]
    assert "process 1 is at 'a', process 0 at 'b'" in found[1]


def test_what_has_failed_is_told_to_all(coordinator):
    def work(processes):
        if processes.index == 1:
            raise ValueError("the text 'a' is empty.")
        processes.wait("never")

    found = each(coordinator, 3, work)
    for index in (0, 2):
        assert str(found[index]).startswith(
            "process 1 has failed: the text 'a' is empty. This process stops; "
        )


@pytest.mark.parametrize(
    ("indices", "of", "seconds", "message"),
    [
        ([0, 1], [4, 4], 1, "processes 2 and 3 of 4 did not join within 1 seconds"),
        ([1], [2], 1, "nobody listens at .* after 1 seconds .*process 0 has not come"),
        (
            [0, 1],
            [2, 3],
            50,
            "process 1 was started with --processes=3, process 0 with",
        ),
        ([0, 1, 1], [3] * 3, 50, "two processes have --process=1. Number them from"),
    ],
    ids=["some missing", "the first missing", "another number", "one twice"],
)
def test_who_does_not_meet(coordinator, indices, of, seconds, message):
    def run(index, count):
        with pytest.raises(ProcessError, match=message):
            meet(coordinator, count, index, seconds=seconds)

    began = time.monotonic()
    with ThreadPoolExecutor(len(indices)) as pool:
        list(pool.map(run, indices, of))
    assert time.monotonic() - began < 60  # what is promised


def test_who_comes_after_the_refusal_is_told_too(coordinator):
    """Process 0 listens before it is a member: others can be refused in between."""
    host, port = coordinator.split(":")
    meeting = Meeting(host, int(port), 3, seconds=50)

    def come(index):
        link = Link(socket.create_connection((host, int(port))))
        link.send(hello=index, of=3)
        return (one for one in link.messages() if "beat" not in one)

    first, second = come(1), come(1)
    for said in (next(first), next(second), next(come(2))):
        assert said["refused"].startswith("two processes have --process=1")
    meeting.close(seconds=0)


def test_a_port_that_is_taken_and_addresses_that_are_none():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            ProcessError, match=f"cannot listen on port {port} .*in use"
        ):
            meet(f"127.0.0.1:{port}", 2, 0, seconds=1)
    for wrong in ("host", "host:", ":7000", "host:seventy", "host:70000"):
        with pytest.raises(ProcessError, match="expected HOST:PORT"):
            meet(wrong, 2, 0)


def test_strangers_at_the_port_change_nothing(coordinator):
    host, port = coordinator.split(":")
    stop = threading.Event()

    def knock():
        while not stop.wait(0.01):
            for word in (b"GET / HTTP/1.0\r\n\r\n", b"[1]\n", b'{"hello": "x"}\n', b""):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection((host, int(port)), timeout=1) as stranger,
                ):
                    stranger.sendall(word)

    stranger = threading.Thread(target=knock)
    stranger.start()
    try:
        found = each(coordinator, 2, lambda one: one.gather("x", one.index))
    finally:
        stop.set()
        stranger.join()
    assert found == [[0, 1]] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_known_at_once(coordinator, victim):
    """The other is in a wait, which has no time limit."""
    child = (
        "import sys, time; from helix_jax.processes import meet; "
        f"p = meet('{coordinator}', 2, {victim}); p.wait('begun'); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", child], cwd=ROOT)
    told = threading.Event()

    def work(processes):
        processes.on_loss(lambda reason: told.set())
        processes.wait("begun")
        process.send_signal(signal.SIGKILL)
        processes.wait("never")

    (found,) = each(coordinator, 1, work, indices=[1 - victim], of=2)
    process.wait()
    assert f"process {victim} ended without a word: it was killed" in str(found)
    assert told.wait(5)
