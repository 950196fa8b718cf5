"""Each mask is used once: among threads, after forks, and by number."""

import contextlib
import copy
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.masks import Mask, MaskContent, MaskPool


class Maker:
    """Numbered contents; counts its calls."""

    def __init__(self, seconds: float = 0.0):
        self.lock, self.made, self.seconds = threading.Lock(), 0, seconds

    def __call__(self) -> MaskContent:
        time.sleep(self.seconds)
        with self.lock:
            self.made += 1
            return MaskContent(self.made, None)


def test_masks_are_taken_oldest_first():
    pool = MaskPool(Maker())
    pool.prepare(3)
    assert [pool.take().number for _ in range(3)] == [0, 1, 2]
    assert len(pool) == 0
    assert pool.take().number == 3  # made at once where there is none
    pool.prepare(1)
    assert pool.take().number == 4


def test_a_mask_is_spent_once():
    mask = Mask(7, MaskContent("first", "second"))
    assert mask.spend() == MaskContent("first", "second")
    with pytest.raises(ProtocolError, match="mask 7 was used before"):
        mask.spend()


def test_a_number_is_taken_once():
    pool = MaskPool(Maker())
    pool.prepare(3)
    assert pool.take(1).number == 1
    with pytest.raises(ProtocolError, match="mask 1 was taken before"):
        pool.take(1)
    assert pool.take().number == 0
    with pytest.raises(ProtocolError, match="mask 0 was taken before"):
        pool.take(0)
    for number in (-1, 3, 10**9):
        with pytest.raises(ProtocolError, match=f"mask {number} is not in this pool"):
            pool.take(number)
    assert pool.take(2).number == 2


def test_single_use_among_threads():
    """Some prepared, some made on demand: no number and no content comes twice."""
    pool, taken, refused = MaskPool(Maker(1e-5)), [], []
    pool.prepare(400)
    start = threading.Barrier(16)

    def take():
        start.wait()
        for number in range(50):
            mask = pool.take()
            taken.append((mask.number, mask.spend().first))
            try:
                taken.append((number, pool.take(number).spend().first))
            except ProtocolError:
                refused.append(number)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers, contents = zip(*taken)
    assert len(taken) >= 800
    assert len(set(numbers)) == len(numbers)
    assert len(set(contents)) == len(contents)
    assert len(taken) + len(refused) == 1600


def test_one_mask_among_threads():
    mask, got = Mask(0, MaskContent(None, None)), []
    start = threading.Barrier(16)

    def spend():
        start.wait()
        with contextlib.suppress(ProtocolError):
            got.append(mask.spend())

    threads = [threading.Thread(target=spend) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


FORK = """
import os, sys, threading
from helix_jax.private.masks import MaskContent, MaskPool
from helix_jax.errors import ProtocolError
calls = []
def make():
    calls.append(os.getpid())
    return MaskContent(os.urandom(8), None)
pool = MaskPool(make)
pool.prepare(4)
held = pool.take()
stop = threading.Event()
# The lock is busy while the process forks: the child must not wait for it for ever.
def busy():
    while not stop.is_set():
        len(pool)
thread = threading.Thread(target=busy); thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        try:
            assert len(pool) == 0
            for number in range(4):
                try:
                    pool.take(number); os._exit(2)
                except ProtocolError: pass
            try:
                held.spend(); os._exit(3)
            except ProtocolError as error:
                assert "forked child" in str(error)
            mask = pool.take()
            mask.spend()
            assert calls[-1] == os.getpid()
        except BaseException:
            os._exit(4)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status: sys.exit(f"child: {status}")
stop.set(); thread.join()
assert held.spend() and pool.take().spend()
print("sound")
"""


def test_a_forked_child_has_no_masks():
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout == "sound\n", run.stderr


def arrays():
    return MaskContent(np.full((1, 2, 3), 7), np.full((1, 2, 4), 9)).kept()


def test_contents_are_overwritten_when_they_are_no_more_needed():
    unspent, spent = arrays(), arrays()
    pool = MaskPool(iter([unspent, spent]).__next__)
    pool.prepare(2)
    unused = pool.take_prepared()
    mask = pool.take_prepared()
    assert mask.spend() is spent
    del mask
    assert spent.first.min() == 7  # it is in use, and its own user's to overwrite
    del unused
    assert not unspent.first.any()
    assert not unspent.second.any()
    left = arrays()
    pool = MaskPool(lambda: left)
    pool.prepare(1)
    del pool
    assert not left.first.any()


def test_masks_are_not_copied():
    pool = MaskPool(Maker())
    pool.prepare(1)
    for thing in (pool, pool.take()):
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not copied or pickled"):
                leave(thing)


def test_makers_that_fail():
    """A failure reaches the one who waits for a mask, and no mask is lost by it."""
    pool = MaskPool(lambda: 1 / 0)
    for ask in (pool.take, lambda: pool.prepare(1)):
        with pytest.raises(ZeroDivisionError):
            ask()
    assert len(pool) == 0
