"""The claims of arXiv 2603.18908, each with the check that tests it."""

from experiments.claims import classification, geometry, privacy
from experiments.claims.ledger import Claim


def all_claims() -> list[Claim]:
    """Every claim, in the order of the ledger."""
    parts = (classification, geometry, privacy)
    return [claim for part in parts for claim in part.claims()]
