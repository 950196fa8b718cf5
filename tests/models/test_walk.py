"""Every attribute of every family's config class: equal to transformers, or refused.

Tolerance: 1e-4 of the largest feature, for the last hidden state and the logits of a
padded batch. Observed: below 1e-5.
"""

import logging

import pytest

from helix_jax.models import FAMILIES

from .walk import Walk, mutations

# How many mutations transformers itself cannot compute, at most.
IMPOSSIBLE = 4


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_attribute_is_honoured_or_refused_by_name(tmp_path, family):
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    walk = Walk(family, tmp_path)
    assert walk.run({}).kind == "equal"
    outcomes = [walk.run(mutation) for mutation in mutations(family)]
    kinds = [outcome.kind for outcome in outcomes]
    wrong = [one for one in outcomes if one.kind in ("wrong", "unnamed")]
    assert not wrong, "\n".join(map(str, wrong))
    assert kinds.count("theirs") <= IMPOSSIBLE
    # Most are honoured or without effect; a reader that refuses all would be no use.
    assert kinds.count("equal") > len(kinds) / 2
