"""A search with both parties in one process."""

from collections.abc import Generator, Sequence
from typing import TypeVar

from helix_jax.private.search.provider import SearchProvider
from helix_jax.private.search.requests import Request

_T = TypeVar("_T")


def converse(
    steps: Generator[Request, Sequence[bytes], _T],
    provider: SearchProvider,
    *,
    log: list[Request] | None = None,
) -> _T:
    """Carry a search's requests to a provider, and the answers back.

    Args:
      steps: from `SearchClient.search` or `SearchClient.read`.
      provider: with which the client is registered.
      log: a list to which requests are appended, as the provider sees them.

    Returns:
      What the steps return.
    """
    answers = None
    while True:
        try:
            request = next(steps) if answers is None else steps.send(answers)
        except StopIteration as end:
            return end.value
        if log is not None:
            log.append(request)
        answers = provider.answer(request.message, request.parts)
