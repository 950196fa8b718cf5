"""The cost of finding keys: figures of the lattice estimator, and of every profile."""

import math
import re
from pathlib import Path

import pytest

from helix_jax.attacks import lattice_cost
from helix_jax.private import PROFILES

COSTS = {
    # name: usvp, bdd; against quantum computers usvp, bdd
    "guarded": (136.3, 135.8, 129.3, 129.3),
    "wide": (129.4, 128.9, 122.7, 122.7),
    "open": (225.7, 224.7, 214.4, 214.4),
    "swift": (225.7, 224.7, 214.4, 214.4),
    "compact": (135.3, 134.3, 128.3, 128.3),
}


def test_figures_of_the_estimator():
    """Kyber512 in the lattice estimator's own documentation."""
    deviation = math.sqrt(1.5)
    kyber = lattice_cost.LWE(512, math.log2(3329), deviation, deviation, 512)
    short = lattice_cost.unique_shortest(kyber)
    assert (round(short.bits, 1), short.block) == (143.8, 406)
    assert abs(short.dimension - 998) <= 1
    bounded = lattice_cost.bounded_distance(kyber)
    assert round(bounded.bits, 1) == 140.3
    assert bounded[1:] == (391, 421, 1013)


@pytest.mark.parametrize(
    ("degree", "log_modulus", "bits"),
    [(4096, 109, 125.1), (4096, 106, 128.9), (2048, 54, 126.3), (2048, 53, 128.8)],
)
def test_figures_of_an_audit(degree, log_modulus, bits):
    """What the estimator itself gave for a ternary secret and our errors."""
    ours = lattice_cost.instance(PROFILES["guarded"])
    problem = ours._replace(dimension=degree, log_modulus=float(log_modulus))
    assert lattice_cost.bounded_distance(problem).bits == pytest.approx(bits, abs=0.06)


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_keep_their_security(name):
    problem = lattice_cost.instance(PROFILES[name])
    costs = [
        attack(problem, model).bits
        for model in (lattice_cost.classical, lattice_cost.quantum)
        for attack in (lattice_cost.unique_shortest, lattice_cost.bounded_distance)
    ]
    assert [round(cost, 1) for cost in costs] == list(COSTS[name])
    assert min(costs[:2]) >= 128
    assert min(costs[2:]) >= 128 or name == "wide"
    page = Path(__file__).parents[2] / "docs/private.md"
    row = re.search(rf"^\| `{name}`.*$", page.read_text(), re.MULTILINE)[0]
    for cost in set(COSTS[name]):
        assert f"{cost}" in row


def test_a_modulus_too_large_is_seen():
    """The positive control: one bit more than the parameters allow."""
    problem = lattice_cost.instance(PROFILES["compact"])
    broken = problem._replace(log_modulus=56.0)
    assert lattice_cost.bounded_distance(broken).bits < 128
    assert lattice_cost.bounded_distance(broken, lattice_cost.quantum).bits < 120
