"""A silo's way through one session: each step's message out, the others' in."""

from collections.abc import Callable

import numpy as np

from helix_jax.net.aggregation.connection import SiloConnection
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.silo import STEPS, Silo


def take_part(
    silo: Silo,
    connection: SiloConnection,
    *,
    report: Callable[[str], None] = lambda step: None,
) -> np.ndarray:
    """All five steps, then the total.

    A silo is made for this and used for nothing else. If the process ends in between,
    its secrets are gone and the silo is out of this session: another process of the
    same silo is refused. Before `mask` that costs nothing.

    Args:
      silo: whose steps they are.
      connection: to the aggregator.
      report: told the name of each step when its message is with the aggregator.

    Returns:
      [2, L] uint64, the total.

    Raises:
      ProtocolError: the aggregator refuses, or what it says is refused here.
      ProcessError: the aggregator was away for too long.
    """
    received: tuple[bytes, ...] = ()
    for step, kind in zip(STEPS, ROUNDS):
        message = getattr(silo, step)(*received)
        connection.send(kind, message)
        report(step)
        if kind is not ROUNDS[-1]:
            received = (connection.receive(kind),)
    return connection.total()
