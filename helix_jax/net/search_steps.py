"""The steps of a search, run against a service."""

import asyncio
from typing import Any, NamedTuple

from helix_jax.net.transport import Transport
from helix_jax.private.search import Request
from helix_jax.private.search.client import Steps
from helix_jax.private.search.requests import split_answers


class _Found(NamedTuple):
    """The result of the steps."""

    value: Any


async def take_steps(transport: Transport, index: str, steps: Steps) -> Any:
    """Send each request of the steps to the service; return the steps' result.

    Args:
      transport: to the service.
      index: name of the index.
      steps: of `SearchClient.search` or `read`.

    Raises:
      ServiceError: the service refused, or could not be reached.
    """
    path = f"/v1/indexes/{index}/answers"
    request: Request | _Found = await asyncio.to_thread(next, steps)
    while not isinstance(request, _Found):
        query = [("part", part) for part in request.parts]
        answer = await transport.ask("POST", path, request.message, query=query)
        answers = split_answers(answer.body, len(request.parts))
        request = await asyncio.to_thread(_sent, steps, answers)
    return request.value


def _sent(steps: Steps, answers: list[bytes]) -> Request | _Found:
    """The next request, or the result: StopIteration must not leave the thread."""
    try:
        return steps.send(answers)
    except StopIteration as end:
        return _Found(end.value)
