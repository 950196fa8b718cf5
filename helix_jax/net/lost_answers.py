"""Requests that are repeated because an answer was lost in transit."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from helix_jax.net.transport import ServiceError

Result = TypeVar("Result")
ATTEMPTS = 5


async def until_answered(
    attempt: Callable[[], Awaitable[Result]], *, lost: tuple[str, ...] = ("answered",)
) -> Result:
    """What an attempt returns; one whose answer was lost is made again.

    A message that was answered once is not answered again, so each attempt encrypts
    anew; what one asks for is the same, so that nothing more is told.

    Args:
      attempt: asks.
      lost: codes of refusals that say so.

    Raises:
      ServiceError: another refusal, or the last attempt was lost, too.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return await attempt()
        except ServiceError as error:
            if error.code not in lost or not left:
                raise
    raise AssertionError
