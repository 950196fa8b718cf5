"""The claims of arXiv 2603.18908, each with the check that tests it."""

from experiments.claims import classification, detection, geometry, privacy, text
from helix_jax.reports.ledger import Claim


def all_claims() -> list[Claim]:
    """Every claim, in the order of the ledger."""
    parts = (classification, detection, geometry, text, privacy)
    return [claim for part in parts for claim in part.CLAIMS]
