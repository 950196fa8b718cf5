"""A service's refusals, by code: a status and a constant message, and no detail.

Details go only to the service's log; what a peer sees does not depend on data.
"""

import errno
import sqlite3
from typing import NamedTuple

from helix_jax.errors import (
    AnsweredError,
    BudgetError,
    HelixError,
    KeyRoleError,
    ProtocolError,
)

FORGOTTEN = "forgotten"  # a worker to its service, which has the key: told to no peer
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class Code(NamedTuple):
    """An HTTP status, the message to the peer, and whether a retry can help."""

    status: int
    message: str
    again: bool = False


CODES = {
    "malformed": Code(400, "The request is not what is expected here."),
    "unauthorized": Code(401, "A valid token or client certificate is needed."),
    "forbidden": Code(403, "This is another client's, or not for this client."),
    "budget": Code(403, "The bits that this client may have of this are spent."),
    "not_found": Code(404, "There is nothing of this name."),
    "method": Code(405, "The path does not take this method."),
    "timeout": Code(408, "The request did not arrive in time."),
    "answered": Code(409, "This query was answered before; encrypt anew."),
    "conflict": Code(409, "This differs from what was received before."),
    "early": Code(409, "This is not asked for yet."),
    "late": Code(409, "This closed without what was sent now."),
    "ended": Code(410, "This ended, and came to nothing."),
    "length_required": Code(411, "The request needs a Content-Length."),
    "too_large": Code(413, "The request is larger than is taken here."),
    "quota": Code(429, "This client asks for more than its quota; wait.", True),
    "failed": Code(500, "The request failed; nothing is known of its cause."),
    "lost": Code(503, "What was to do this was lost; ask again.", True),
    "busy": Code(503, "Too much is asked for at once; ask again.", True),
    "storage": Code(507, "What must be kept cannot be written now; ask later.", True),
    "draining": Code(503, "The service is about to end; ask again later.", True),
}


class Refusal(HelixError):
    """A request that is not served.

    Attributes:
      code: of CODES.
      detail: for the log.
      after: seconds until it may be asked for again; None if unknown.
    """

    def __init__(self, code: str, detail: str = "", *, after: float | None = None):
        super().__init__(f"{code}: {detail or CODES[code].message}")
        self.code, self.detail, self.after = code, detail, after


def code_of(error: Exception) -> str:
    """The code of the refusal that an exception leads to."""
    if isinstance(error, Refusal):
        return error.code
    if _is_of_disk(error):
        return "storage"
    for kind, code in (
        (AnsweredError, "answered"),
        (BudgetError, "budget"),
        (KeyRoleError, "forbidden"),
        (ProtocolError, "malformed"),
        (ValueError, "malformed"),
    ):
        if isinstance(error, kind):
            return code
    return "failed"


def _is_of_disk(error: BaseException | None) -> bool:
    """Whether the disk is full, gone or at its limit, which is no fault of the peer."""
    while error is not None:
        # Of SQLite's: full, locked, an error of input and output.
        if isinstance(error, sqlite3.OperationalError):
            return True
        if isinstance(error, OSError) and error.errno in _DISK:
            return True
        error = error.__cause__
    return False
