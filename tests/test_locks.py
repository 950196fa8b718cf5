"""Locks: one holds, the others wait; whoever is dead holds nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helix_jax.errors import LockError
from helix_jax.lock_files import FILE, LocalPlace
from helix_jax.locks import Lock, hold, keep, let_go, writer_of
from helix_jax.owners import encode_owner, has_ended, this_process
from helix_jax.remote_lock import RemotePlace
from helix_jax.storage import open_folder

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from helix_jax.locks import hold
with hold(sys.argv[1], "a test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of a folder until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def waiting(lock):
    """A thread that takes a lock, and the event that it has it."""
    done = threading.Event()

    def take():
        lock.acquire()
        done.set()

    threading.Thread(target=take, daemon=True).start()
    return done


def elsewhere(**changes):
    """An owner on another machine."""
    return this_process("a test")._replace(machine="other", host="far", **changes)


def test_the_second_waits_and_says_for_whom(tmp_path, holder, caplog):
    lock = Lock(LocalPlace(tmp_path), "a test")
    done = waiting(lock)
    assert not done.wait(1.5)
    (record,) = caplog.records
    assert (
        f"a test of {this_process('').user} (process {holder.pid} on "
        in record.msg % (record.args)
    )
    assert f"process {holder.pid}" in writer_of(LocalPlace(tmp_path))
    holder.communicate()  # it ends by itself
    assert done.wait(5)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_frees_it_at_once(tmp_path, holder):
    lock = Lock(LocalPlace(tmp_path), "a test")
    done = waiting(lock)
    assert not done.wait(0.2)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert done.wait(3)
    lock.check()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def local(tmp_path):
    def leave(owner, age):
        (tmp_path / FILE).write_bytes(encode_owner(owner))
        os.utime(tmp_path / FILE, (time.time() - age,) * 2)

    return lambda: LocalPlace(tmp_path), leave


def remote(tmp_path):
    folder = open_folder(f"memory://locks{tmp_path}")

    def leave(owner, age):
        beat = json.dumps({"beat": time.time() - age}).encode()
        record = beat + b"\n" + encode_owner(owner)
        folder.kvstore.write(FILE, record).result()

    return lambda: RemotePlace(folder), leave


@pytest.mark.parametrize("kind", [local, remote])
def test_a_dead_process_of_this_machine_holds_nothing(tmp_path, kind):
    place, leave = kind(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = this_process("a test")._replace(pid=process.pid, started="1")
    assert has_ended(dead)
    assert has_ended(this_process("")._replace(started="1"))  # its number came again
    leave(dead, 1)
    assert writer_of(place()) == ""
    lock = Lock(place(), "a test")
    assert waiting(lock).wait(3)
    lock.release()
    assert place().look() is None


@pytest.mark.parametrize("kind", [local, remote])
def test_another_machine_is_watched(tmp_path, kind):
    """Old by any clock: taken at once. Silent while watched: taken then."""
    place, leave = kind(tmp_path)
    leave(elsewhere(), 2 * 3600)
    lock = Lock(place(), "a test")
    assert waiting(lock).wait(3)
    lock.release()
    leave(elsewhere(), 5)
    assert "on far" in writer_of(place())
    lock = Lock(place(), "a test", stale=1.5)
    began, done = time.monotonic(), waiting(lock)
    for _ in range(5):  # it lives
        time.sleep(0.3)
        leave(elsewhere(), 0)
    assert not done.is_set()
    assert done.wait(5)
    assert time.monotonic() - began > 2.5
    lock.release()


@pytest.mark.parametrize("kind", [local, remote])
def test_an_empty_or_damaged_record_is_no_owner(tmp_path, kind):
    place, _ = kind(tmp_path)
    for record in (b"", b"{", b"{}", b'{"beat": 1}\n{"pid": 1}'):
        if kind is local:
            (tmp_path / FILE).write_bytes(record)
        else:
            open_folder(f"memory://locks{tmp_path}").kvstore.write(FILE, record)
        lock = Lock(place(), "a test")
        assert waiting(lock).wait(3)
        lock.release()


@pytest.mark.parametrize("kind", [local, remote])
def test_who_was_taken_over_writes_no_more(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("helix_jax.remote_lock._BEAT_SECONDS", 0)
    place, leave = kind(tmp_path)
    lock = Lock(place(), "a test")
    lock.acquire()
    lock.check()
    if kind is local:
        (tmp_path / FILE).unlink()
    leave(elsewhere(), 0)
    with pytest.raises(LockError, match="taken over by another process"):
        lock.check()
    lock.release()
    assert place().look().owner == elsewhere(since=place().look().owner.since)


@pytest.mark.parametrize("kind", [local, remote])
def test_threads_exclude_each_other(tmp_path, kind):
    place, _ = kind(tmp_path)
    inside, most, errors = [0], [0], []

    def work():
        try:
            for _ in range(10):
                lock = Lock(place(), "a test")
                lock.acquire()
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1
                lock.release()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, errors) == ([1], [])


def test_a_thread_and_a_process_hold_what_they_hold(tmp_path):
    with hold(tmp_path, "one"), hold(tmp_path / ".", "two"):
        assert (tmp_path / FILE).exists()
    assert not (tmp_path / FILE).exists()
    keep(tmp_path, "one")
    keep(tmp_path, "two")
    with hold(tmp_path, "three"):
        pass
    assert (tmp_path / FILE).exists()
    let_go(tmp_path)
    let_go(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_a_thread_waits_for_another_that_keeps(tmp_path):
    kept, leave = threading.Event(), threading.Event()

    def work():
        keep(tmp_path, "one")
        kept.set()
        leave.wait()

    first = threading.Thread(target=work)
    first.start()
    assert kept.wait(5)
    with hold(tmp_path, "a part of it"):  # workers of the one that keeps it
        pass
    second = threading.Thread(target=keep, args=(tmp_path, "two"))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    let_go(tmp_path)
    second.join(5)
    assert not second.is_alive()
    leave.set()
    first.join()
    keep(tmp_path, "three")  # of a thread that has ended
    let_go(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_a_forked_child_does_not_hold_what_its_parent_holds(tmp_path):
    script = f"""
import os, time
from helix_jax.locks import keep
keep({str(tmp_path)!r}, "a test")
if os.fork() == 0:
    time.sleep(60)
print("forked", flush=True)
os._exit(0)
"""
    done = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert done.stdout.readline() == "forked\n"
    done.wait()
    lock = Lock(LocalPlace(tmp_path), "a test")
    assert waiting(lock).wait(3)
    lock.release()
    os.killpg(done.pid, signal.SIGKILL)


def test_a_folder_that_goes_while_it_is_waited_for(tmp_path, holder):
    lock = Lock(LocalPlace(tmp_path), "a test")
    done = waiting(lock)
    assert not done.wait(0.1)
    (tmp_path / FILE).unlink()
    tmp_path.rmdir()
    assert done.wait(3)
    lock.release()
