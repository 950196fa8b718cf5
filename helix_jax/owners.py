"""The record of a writing process, by which others identify it."""

import getpass
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """A process that writes.

    Attributes:
      what: "an extraction", "a run", ...
      host, user, pid: of the process.
      machine: identity of the running kernel; host names may repeat.
      space: namespace of process ids; containers have their own.
      started: when the process began, by the kernel; pids are reused.
      since: seconds of the epoch.
    """

    what: str
    host: str
    user: str
    pid: int
    machine: str
    space: str
    started: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return (
            f"{self.what} of {self.user} (process {self.pid} on {self.host}, since "
            f"{since})"
        )


def this_process(what: str) -> Owner:
    """This process as an owner."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in containers
        user = str(os.getuid())
    pid = os.getpid()
    return Owner(
        what,
        socket.gethostname(),
        user,
        pid,
        this_machine(),
        _space(),
        _started(pid),
        time.time(),
    )


def has_ended(owner: Owner) -> bool:
    """Whether an owner is a process of this machine that has ended."""
    if (owner.machine, owner.space) != (this_machine(), _space()):
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _started(owner.pid) != owner.started


def encode_owner(owner: Owner) -> bytes:
    """The record of an owner."""
    return json.dumps(owner._asdict(), sort_keys=True).encode() + b"\n"


def decode_owner(record: bytes) -> Owner | None:
    """The owner of a record; None if it is empty or damaged."""
    try:
        return Owner(**json.loads(record))
    except (ValueError, TypeError):
        return None


def this_machine() -> str:
    """Identity of the running kernel; the host name if there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # dead, but not yet waited for
