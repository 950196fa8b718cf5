"""Two sums give a silo's moments; with ledgers there is no second one."""

import numpy as np
import pytest

pytest.importorskip("cryptography")

from helix_jax.alignment import Moments
from helix_jax.attacks.sum_difference import silo_moments
from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation import MomentsFormat, encode, rehearse
from helix_jax.private.ledger import Ledger
from tests.private.aggregation.stage import Stage, to_ints

SILOS, WIDTHS = 5, (3, 2)


@pytest.fixture(scope="module")
def parts():
    """Moments of five silos."""
    generator = np.random.default_rng(0)
    found = []
    for silo in range(SILOS):
        z = generator.normal(silo, 1.0, (20 + silo, sum(WIDTHS)))
        joint = np.cov(z.T, bias=True)
        blocks = joint[:3, :3], joint[:3, 3:], joint[3:, 3:]
        found.append(Moments(len(z), z[:, :3].mean(0), z[:, 3:].mean(0), *blocks))
    return found


def test_two_totals_give_a_silo(parts):
    """Exactly: the integers that it sent, and its moments but for the last places."""
    layout = MomentsFormat(*WIDTHS, silos=SILOS)
    vectors = [encode(part, layout) for part in parts]
    larger, smaller = (
        rehearse(vectors, content=layout.content, leaves=leaves).total
        for leaves in ({}, {2: "mask"})
    )
    found = silo_moments(larger, smaller, layout)
    for value, own in zip(found, parts[1]):
        np.testing.assert_allclose(value, own, rtol=1e-13, atol=1e-15)
    with pytest.raises(ProtocolError, match="the total has"):
        silo_moments(smaller, larger, layout)


def test_with_ledgers_there_is_no_second_total(parts, tmp_path):
    layout = MomentsFormat(*WIDTHS, silos=SILOS)
    vectors = [to_ints(encode(part, layout)) for part in parts]
    ledgers = {k: Ledger(tmp_path / f"{k}.db") for k in range(1, SILOS + 1)}
    Stage(vectors, ledgers=ledgers).play()
    with pytest.raises(ProtocolError, match="were in a sum before"):
        Stage(vectors, ledgers=ledgers)
    # The silo that is after another's rows enters them anew, and those it works with.
    stage = Stage(vectors, ledgers={k: ledgers[k] for k in (3, 4)}, again=(1, 3, 4))
    stage.act("advertise")
    stage.deliver("advertise")
    with pytest.raises(ProtocolError, match=r"silo 5: silos \[1, 3, 4\] say"):
        stage.silos[5].share(stage.answers["advertise"][5])
