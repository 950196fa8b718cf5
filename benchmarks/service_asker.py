"""Our client for the turns of `peer_services.asking`, as a separate process.

    python -m benchmarks.service_asker PROBLEM AUTHORITY PORT TOKENS HEAD

TOKENS: a folder of files with one token each, one for each concurrent client.
"""

import itertools
import sys
from pathlib import Path

from benchmarks.peer_services.asking import Ask, take_turns
from helix_jax.net import connect, read_token
from helix_jax.private import Client


def main(problem: str, authority: str, port: str, folder: str, head: str) -> None:
    """Take turns until the input ends."""
    tokens = itertools.cycle(sorted(Path(folder).iterdir()))
    with_proof = len(Client("guarded").public_bundle())

    def begin(port: int) -> tuple[Ask, int]:
        own = connect(
            f"https://127.0.0.1:{port}",
            token=read_token(next(tokens)),
            authority=authority,
        )
        return lambda x: own.classify(head, x), with_proof

    take_turns(begin, int(port), problem)


if __name__ == "__main__":
    main(*sys.argv[1:])
