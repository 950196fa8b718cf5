"""What the aggregation service says no with: a code, and nothing of the reason."""

from typing import NoReturn

STATUS = {  # code -> status of HTTP
    "malformed": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,  # this silo has sent another message of the round
    "late": 409,  # the round closed without this silo
    "early": 409,  # the round is not open yet
    "ended": 410,  # the session ended without a total
    "length_required": 411,
    "too_large": 413,
    "quota": 429,
    "failed": 500,
    "busy": 503,
    "draining": 503,
}


class Refusal(Exception):
    """A request that is not done.

    Attributes:
      code: a name of STATUS, which is all that the peer is told.
      reason: for the log.
    """

    def __init__(self, code: str, reason: str = ""):
        """Give a code of STATUS."""
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return STATUS[self.code]


def refuse(code: str, reason: str = "") -> NoReturn:
    """Raise a Refusal."""
    raise Refusal(code, reason)
