"""Requests that are repeated because an answer was lost in transit."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from helix_jax.net.transport import ServiceError

Result = TypeVar("Result")
ATTEMPTS = 5


async def until_answered(
    attempt: Callable[[], Awaitable[Result]], *, lost: tuple[str, ...] = ("answered",)
) -> Result:
    """Return the result of an attempt, retrying if its answer was lost.

    A message is answered only once, so each attempt encrypts anew; all attempts ask for
    the same thing, so retrying reveals nothing more.

    Args:
      attempt: sends the request.
      lost: codes of refusals that mean that the answer was lost.

    Raises:
      ServiceError: another refusal, or the last attempt was lost too.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return await attempt()
        except ServiceError as error:
            if error.code not in lost or not left:
                raise
    raise AssertionError
