"""Test vectors of a small sum with fixed randomness; see docs/aggregation.md.

    python -m tests.private.aggregation.vectors     # writes FILE anew

Only for a change of the protocol, together with its number.
"""

import json
from pathlib import Path

from helix_jax.alignment import Moments
from helix_jax.private.aggregation import (
    Aggregator,
    MomentsFormat,
    Session,
    Silo,
    encode,
    new_identity,
)
from helix_jax.private.aggregation.silo import STEPS
from tests.private.aggregation.stage import seeded, to_ints

FILE = Path(__file__).parents[1] / "vectors" / "aggregation.json"
LAYOUT = MomentsFormat(1, 1, silos=4)
GONE = {4: "mask"}  # silo 4 has shared its secrets, and leaves
MOMENTS = {
    1: (30, 0.5, -1.25, 2.0, 0.75, 1.5),
    2: (7, -0.1, 3.7, 0.3, -0.2, 0.9),
    3: (1000, 12.0, 1e-3, 4.25, 0.0, 1e-6),
    4: (2, 1.0, 1.0, 1.0, 1.0, 1.0),
}


def moments_of(values) -> Moments:
    """Moments of width 1 and 1 from count, means, cov_xx, cov_xy, cov_yy."""
    count, mean_x, mean_y, *covariance = values
    return Moments(count, [mean_x], [mean_y], *([[value]] for value in covariance))


def make() -> dict:
    """The record: everything that was drawn, and everything that was sent."""
    drawn: dict[str, list[str]] = {}

    def source(name: str):
        draw, kept = seeded(f"helix_jax vectors/{name}"), drawn.setdefault(name, [])

        def random(size: int) -> bytes:
            kept.append(draw(size).hex())
            return bytes.fromhex(kept[-1])

        return random

    identities = [new_identity(source(f"identity {k}")) for k in range(5)]
    public = [key for _, key in identities]
    session = Session(
        source("session")(16),
        public[0],
        tuple(public[1:]),
        3,
        1,
        LAYOUT.length,
        LAYOUT.content,
    )
    words = {k: encode(moments_of(values), LAYOUT) for k, values in MOMENTS.items()}
    aggregator = Aggregator(session, identities[0][0])
    silos = {
        k: Silo(
            session,
            k,
            identities[k][0],
            words[k],
            rows=bytes([k]),
            ledger=None,
            random=source(f"silo {k}"),
        )
        for k in session.numbers
    }
    sent, inbox = {}, {k: () for k in silos}
    for step in STEPS:
        for k, received in inbox.items():
            if GONE.get(k) == step:
                continue
            message = getattr(silos[k], step)(*received)
            aggregator.receive(message)
            sent[f"{step}, silo {k}"] = message.hex()
        answers = aggregator.close_round()
        sent |= {f"{step}, to silo {k}": one.hex() for k, one in answers.items()}
        inbox = {k: (one,) for k, one in answers.items()}
    return {
        "protocol": "helix_jax aggregation 2",
        "drawn": drawn,
        "session": {
            "identifier": session.identifier.hex(),
            "aggregator": session.aggregator.hex(),
            "members": [key.hex() for key in session.members],
            "threshold": session.threshold,
            "colluders": session.colluders,
            "length": session.length,
            "content": session.content.hex(),
            "digest": session.digest.hex(),
        },
        "moments": {str(k): list(values) for k, values in MOMENTS.items()},
        "vectors": {str(k): [str(v) for v in to_ints(one)] for k, one in words.items()},
        "messages": sent,
        "survivors": sorted(aggregator.survivors),
        "total": [str(v) for v in to_ints(aggregator.total())],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n")
