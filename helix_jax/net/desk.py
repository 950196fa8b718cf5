"""A worker's operations for clients: heads and indexes by name, fits in `fit_desk.py`.

A request carries all it needs, and everything that must last is on disk when its answer
is given: another worker can replace one that has ended.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helix_jax.errors import KeyRoleError
from helix_jax.net.deployment import Deployment
from helix_jax.net.enrolment import Asking, Enrolment
from helix_jax.net.fit_desk import FitDesk
from helix_jax.net.settings import ServiceSettings
from helix_jax.private import Admission, Ledger, Provider
from helix_jax.private.policies import GUARDED
from helix_jax.private.search import SearchProvider, open_index

_PREPARED = 4  # masks of a key, ahead
_RECENT = 16  # keys whose masks are prepared


class Desk:
    """The providers of one worker.

    Attributes:
      settings, deployment: what is served.
      keys: of clients.
      fits: under way.
    """

    def __init__(self, settings: ServiceSettings):
        """Open the state; heads and rows follow on first use."""
        self.settings, self.deployment = settings, Deployment(settings)
        self.folder = Path(settings.state)
        self.ledger = Ledger(self.folder / "state.db")
        self.admission = Admission(self.folder / "admission.key")
        self.keys = Enrolment(self.admission, self._forget)
        fits = self.folder / "fits"
        self.fits = FitDesk(self.deployment, fits, self.ledger, self.keys)
        self._providers: dict[tuple[str, str], Provider] = {}
        self._indexes: dict[str, SearchProvider] = {}
        self._recent: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()

    def _forget(self, key: bytes) -> None:
        """Drop the accounts and masks of a key that makes room."""
        for provider in self._providers.values():
            provider.forget(key)
        for index in self._indexes.values():
            index.forget(key)
        for one in [one for one in self._recent if one[2] == key]:
            del self._recent[one]

    def provider(self, head: str, policy: str) -> Provider:
        """The provider of a head under a policy; empty for the profile's own."""
        found = self._providers.get((head, policy))
        if found is None:
            settings, opened = self.settings.heads[head], self.deployment.head(head)
            found = self._providers[head, policy] = Provider(
                opened.kernel,
                opened.bias,
                input_norm=self.deployment.input_norm(head),
                profile=settings.profile,
                policy=policy or None,
                minimise=settings.minimise,
                shared=settings.shared,
                ledger=self.ledger,
                admission=self.admission,
            )
        return found

    def ask(self, head: str, what: str, asking: Asking, message: bytes) -> bytes:
        """Answer a message to a head: of `answers`, `transfers` or `labels`."""
        policy = self.settings.policy_of(asking.identity, head)
        provider = self.provider(head, policy)
        budget = self.settings.budget_of(asking.identity, head)
        self.keys.admit(
            provider,
            asking,
            lambda key, ticket: provider.register(key, ticket, budget=budget),
        )
        self._recent[head, policy, asking.key] = None
        self._recent.move_to_end((head, policy, asking.key))
        while len(self._recent) > _RECENT:
            self._drop_masks(*self._recent.popitem(last=False)[0])
        act = {
            "answers": provider.answer,
            "transfers": provider.agree,
            "labels": provider.label,
        }
        return act[what](message)

    def offer(self, head: str, identity: str) -> bytes:
        """The layer of a head, as a client is answered."""
        return self.provider(
            head, self.settings.policy_of(identity, head)
        ).layer.to_bytes()

    def index(self, name: str) -> SearchProvider:
        """The provider of an index."""
        found = self._indexes.get(name)
        if found is None:
            settings = self.settings.indexes[name]
            found = self._indexes[name] = SearchProvider(
                open_index(settings.path),
                profile=settings.profile,
                policy=settings.policy or None,
                decoys=settings.decoys,
                budget=settings.budget,
                text_budget=settings.text_budget,
                weights_bytes=int(settings.weights_bytes),
                ledger=self.ledger,
                admission=self.admission,
            )
        return found

    def search(
        self, index: str, parts: Sequence[str], asking: Asking, message: bytes
    ) -> bytes:
        """The answers of parts of an index to one message, one after the other."""
        provider = self.index(index)
        self.keys.admit(provider, asking, provider.register)
        return b"".join(provider.answer_pieces(message, parts))

    def _drop_masks(self, head: str, policy: str, key: bytes) -> None:
        """Wipe the masks of a key that asks no more: for large heads they are large."""
        with contextlib.suppress(KeyRoleError, ValueError):
            pool = self._providers[head, policy].masks(key)
            while pool.take_prepared() is not None:
                pass

    def prepare_one(self) -> bool:
        """Make one mask ahead for a recent client; False if all are made."""
        for head, policy, key in reversed(self._recent):
            provider = self._providers[head, policy]
            try:
                pool = provider.masks(key)
            except (KeyRoleError, ValueError):
                continue
            if len(pool) < _PREPARED:
                pool.prepare(len(pool) + 1)
                return True
        return False

    def about(self) -> dict[str, Any]:
        """The public description of everything served; JSON-able."""
        heads = {}
        for name, settings in self.settings.heads.items():
            provider = self.provider(name, settings.policy)
            layer = provider.layer
            heads[name] = self.deployment.head(name).about | {
                "profile": layer.profile.name,
                "policy": str(layer.policy),
                "width": layer.plan.width,
                "results": layer.plan.classes,
                "input_norm": layer.input_norm,
                "shared": settings.shared is not None,
                "answer_bits": provider.answer_bits,
            }
        rows = {}
        for name, given in self.settings.rows.items():
            served = self.deployment.rows(name)
            count, width = served.prepared.rows.shape
            rows[name] = served.about | {
                "profile": given.profile,
                "rows": count,
                "width": width,
                "precision": given.precision,
                "share": given.share,
            }
        indexes = {}
        for name, asked in self.settings.indexes.items():
            index = self.index(name).about
            indexes[name] = {
                "profile": asked.profile,
                "policy": asked.policy or GUARDED,
                "rows": index["rows"],
                "model": index["model"],
            }
        return {"heads": heads, "rows": rows, "indexes": indexes}

    def spent(self, identity: str) -> dict[str, dict[str, Any]]:
        """Bits that a client has used: of heads; of indexes' scores and texts."""
        heads = {
            name: self.provider(name, self.settings.policy_of(identity, name)).spent(
                identity
            )
            for name in self.settings.heads
        }
        indexes = {
            name: self.index(name).spent(identity) for name in self.settings.indexes
        }
        return {"heads": heads, "indexes": indexes}
