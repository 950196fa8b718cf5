"""A cache of an index's layers: the most recently used are kept ready to answer.

A cluster's transformed weights take sixteen bytes per weight, about 7 GB for a million
rows of width 384. Those that do not fit are made again from the index folder, in some
milliseconds per cluster.
"""

import threading
from collections import OrderedDict

from helix_jax.private.ledger import Ledger
from helix_jax.private.packing import Plan
from helix_jax.private.profiles import Profile
from helix_jax.private.provider import Provider, Share
from helix_jax.private.search.parts import Family, split_part

_ALL = 2**62


class Blocks:
    """The providers of the parts of an index."""

    def __init__(
        self,
        families: dict[str, Family],
        *,
        profile: Profile,
        ledger: Ledger,
        weights_bytes: int,
    ):
        """Start empty; providers are made when they are needed.

        Args:
          families: name of a kind of parts -> its family.
          profile: of the ring.
          ledger: shared by all.
          weights_bytes: memory for their transformed weights.
        """
        self._families, self._profile = families, profile
        self._ledger, self._limit, self._held = ledger, weights_bytes, 0
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Provider] = OrderedDict()

    def get(self, part: str) -> Provider:
        """The provider of a part that exists."""
        with self._lock:
            if part in self._made:
                self._made.move_to_end(part)
                return self._made[part]
        provider = self._make(part)
        with self._lock:
            found = self._made.setdefault(part, provider)
            if found is provider:
                self._held += self._size(part, provider)
            # The layer of all rows always stays: making it takes longer than a search.
            others = [name for name in self._made if name not in ("scores", part)]
            for name in others:
                if self._held <= self._limit:
                    break
                self._held -= self._size(name, self._made.pop(name))
            return found

    def _size(self, part: str, provider: Provider) -> int:
        size = plan_bytes(provider.layer.plan, self._profile)
        return min(size, self._limit) if part == "scores" else size

    def prepare(self) -> int:
        """Make as many providers as fit; returns how many there are."""
        for name, family in self._families.items():
            for number in range(family.parts[name]):
                size = plan_bytes(family.plan, self._profile)
                if self._held + size > self._limit and self._made:
                    return len(self._made)
                self.get(name if name == "scores" else f"{name}/{number}")
        return len(self._made)

    def _make(self, part: str) -> Provider:
        name, number = split_part(part)
        family, single = self._families[name], name == "scores"
        return Provider(
            family.kernel(name, number),
            input_norm=1.0,
            profile=self._profile.name,
            policy=str(family.policy),
            tiles=family.plan.tiles,
            ledger=self._ledger,
            scales=family.scales,
            # A single layer keeps the parts that fit; one of many is kept whole.
            weights_bytes=self._limit if single else _ALL,
            share=Share(family.subject, part.encode()),
        )


def plan_bytes(plan: Plan, profile: Profile) -> int:
    """Bytes of memory of a layer's transformed weights."""
    return 8 * plan.answers * plan.tiles * plan.degree * len(profile.primes)
