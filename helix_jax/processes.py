"""The processes of one run: they meet, agree, wait for each other, detect losses.

    processes = meet("10.0.0.1:7000", count=4, index=2)
    processes.agree("flags", record)        # the same error everywhere, or none
    done = processes.first("done", found)   # what process 0 has found
    processes.wait("the states")            # until all are here, or one is lost
    processes.leave()

Uses no device and no jax: divided work needs no collective, and a process that hangs in
a collective could not be told of a loss. Waiting has no time limit, since one process
may have more to do than another; but all processes are watched for losses.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from helix_jax.errors import ProcessError
from helix_jax.meeting import BEAT_SECONDS, KILLED, Link, Meeting

MEETING_SECONDS = 60.0
_LEAVING_SECONDS = 2.0


class Processes:
    """This process among those of its run; alone unless it comes from `meet`.

    Attributes:
      index: of this process, from 0.
      count: of processes.
      share_devices: whether the devices of all are one set, see `runs.processes`.
    """

    def __init__(self) -> None:
        """A single process, which waits for nobody."""
        self.index, self.count, self.share_devices = 0, 1, False
        self._link: Link | None = None
        self._meeting: Meeting | None = None
        self._change = threading.Condition()
        self._met, self._turn, self._lost = False, 0, ""
        self._answers: dict[int, dict[str, Any]] = {}
        self._ended = False
        self._on_loss: Callable[[str], Any] | None = None

    def gather(self, name: str, value: Any = None) -> list[Any]:
        """One JSON-able value of each process, in their order; all wait for each other.

        Raises:
          ProcessError: a process was lost, has failed, or is elsewhere in the program.
        """
        if self._link is None:
            return [value]
        with self._change:
            turn, self._turn = self._turn, self._turn + 1
            self._link.send(gather=turn, name=name, value=value)
            self._change.wait_for(lambda: turn in self._answers or self._lost)
            if turn not in self._answers:
                raise ProcessError(self._lost)
            answer = self._answers.pop(turn)
        elsewhere = [i for i, one in enumerate(answer["names"]) if one != name]
        if elsewhere:
            other = answer["names"][elsewhere[0]]
            raise ProcessError(
                f"process {self.index} is at {name!r}, process {elsewhere[0]} at "
                f"{other!r}. All processes must run the same program, with the same "
                "flags, code and data."
            )
        return answer["values"]

    def first(self, name: str, value: Any = None) -> Any:
        """The value of process 0; others need not give one."""
        return self.gather(name, value if self.index == 0 else None)[0]

    def wait(self, name: str) -> None:
        """Wait until all processes are here.

        Raises:
          ProcessError: as for `gather`.
        """
        self.gather(name)

    @contextlib.contextmanager
    def first_then_others(self, name: str) -> Iterator[None]:
        """Let process 0 run the block first, and then all others."""
        if self.index > 0:
            self.wait(name)
        yield
        if self.index == 0:
            self.wait(name)

    def agree(self, what: str, record: Mapping[str, Any]) -> None:
        """Raise on every process unless all give the same record.

        Args:
          what: what the record describes, for the message.
          record: JSON-able.

        Raises:
          ProcessError: which process differs from process 0, and in what.
        """
        records = self.gather(f"agree on {what}", dict(record))
        for index, other in enumerate(records[1:], 1):
            said = _differences(records[0], other, index)
            if said:
                raise ProcessError(
                    f"process {index} differs from process 0 in {what}: "
                    f"{'; '.join(said[:3])}"
                    f"{f' and {len(said) - 3} more' if len(said) > 3 else ''}. All "
                    "processes need the same program, flags, code and data."
                )

    def check(self) -> None:
        """Raise ProcessError if a process was lost; at once, without waiting."""
        if self._lost and not self._ended:
            raise ProcessError(self._lost)

    def is_lost(self, seconds: float) -> bool:
        """Whether a process is lost, or will be found lost within some seconds."""
        with self._change:
            return bool(self._change.wait_for(lambda: self._lost, seconds))

    def on_loss(self, tell: Callable[[str], Any]) -> None:
        """Call a function with the reason, in a thread, when a process is lost."""
        self._on_loss = tell

    def leave(self, failure: str = "") -> None:
        """Wait for all to end; or, with a reason, tell them and leave.

        Raises:
          ProcessError: a process was lost, or has failed.
        """
        if self._link is None or self._ended:
            return
        try:
            if not failure:
                self.wait("the end")
        finally:
            self._ended = True
            self._link.send(**({"failed": failure} if failure else {"bye": 1}))
            with self._change:  # until the meeting has passed it on
                self._change.wait_for(lambda: self._lost, _LEAVING_SECONDS)
            self._link.close()
            if self._meeting is not None:
                self._meeting.close(seconds=_LEAVING_SECONDS)

    def _enter(self, link: Link, index: int, count: int) -> None:
        """Say hello, wait for the others, and listen from then on."""
        self.index, self.count, self._link = index, count, link
        link.send(hello=index, of=count)
        for work in (self._listen, self._beat):
            threading.Thread(target=work, args=(link,), daemon=True).start()
        with self._change:
            self._change.wait_for(lambda: self._met or self._lost)
        self.check()

    def _listen(self, link: Link) -> None:
        lost = f"process 0 {KILLED}"
        for message in link.messages():
            with self._change:
                if "met" in message:
                    self._met = True
                elif "gathered" in message:
                    self._answers[message["gathered"]] = message
                self._change.notify_all()
            if "refused" in message:
                lost = message["refused"]
                break
            if "lost" in message:
                failed = message["why"] != KILLED
                lost = f"process {message['lost']} "
                lost += f"has failed: {message['why']}" if failed else message["why"]
                break
        with self._change:
            self._lost = (
                f"{lost.rstrip('.')}. This process stops; start all of them again to "
                "resume from what is there."
            )
            self._change.notify_all()
        if self._met and not self._ended and self._on_loss is not None:
            self._on_loss(self._lost)

    def _beat(self, link: Link) -> None:
        while not self._lost:
            link.send(beat=1)
            time.sleep(BEAT_SECONDS)


ALONE = Processes()
_current = ALONE


def meet(
    coordinator: str, count: int, index: int, *, seconds: float = MEETING_SECONDS
) -> Processes:
    """Meet the other processes of a run.

    Args:
      coordinator: HOST:PORT where process 0 listens, the same for all.
      count: of processes.
      index: of this one, from 0.
      seconds: in which all must have joined.

    Raises:
      ProcessError: some did not join (they are named), or do not belong together.
    """
    host, port = split_address(coordinator)
    found = Processes()
    if index == 0:
        found._meeting = Meeting(host, port, count, seconds=seconds)
    found._enter(_connect(host, port, coordinator, seconds), index, count)
    return found


def join(*address: Any, **options: Any) -> Processes:
    """`meet`; `current` returns these processes from then on."""
    global _current
    _current = meet(*address, **options)
    return _current


def current() -> Processes:
    """The processes that this one has joined; ALONE without a `join`."""
    return _current


def split_address(coordinator: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.

    Raises:
      ProcessError: it has another form.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ProcessError(
            f"--coordinator={coordinator}: expected HOST:PORT, such as 10.0.0.1:7000."
        )
    return host.strip("[]"), int(port)


def _connect(host: str, port: int, name: str, seconds: float) -> Link:
    until = time.monotonic() + seconds
    while True:
        try:
            return Link(socket.create_connection((host, port), timeout=5))
        except OSError as error:
            if time.monotonic() > until:
                raise ProcessError(
                    f"nobody listens at {name} after {seconds:g} seconds ({error}): "
                    "process 0 has not come, or cannot be reached from here. Start it, "
                    "on the machine of --coordinator; --meeting_seconds waits longer."
                ) from error
            time.sleep(0.2)


def _differences(first: Any, other: Any, index: int) -> list[str]:
    """The differences of two records, those in nested dictionaries too."""

    def flat(record: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(record, dict) or not record:
            return {name: record}
        parts = (flat(v, f"{name}.{k}" if name else k) for k, v in record.items())
        return {k: v for part in parts for k, v in part.items()}

    first, other = flat(first), flat(other)
    missing = object()
    return [
        f"{name} is {_shown(first, name)} on process 0 and {_shown(other, name)} on "
        f"process {index}"
        for name in sorted(first.keys() | other.keys())
        if first.get(name, missing) != other.get(name, missing)
    ]


def _shown(record: dict[str, Any], name: str) -> str:
    return f"{record[name]!r:.80}" if name in record else "missing"
