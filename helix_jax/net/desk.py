"""What a worker does for clients: keys, heads and fits, by name.

All that a request needs comes with it, and all that must last is on the disk when its
answer is given: another worker can go on in the place of one that has ended.
"""

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from helix_jax.errors import KeyRoleError
from helix_jax.net.deployment import Deployment
from helix_jax.net.refusals import FORGOTTEN, Refusal
from helix_jax.net.settings import ServiceSettings
from helix_jax.private import Admission, FitProvider, Ledger, Provider
from helix_jax.private.accounts import PublicKey
from helix_jax.private.fit_state import has_state
from helix_jax.private.policies import GUARDED
from helix_jax.private.profiles import find_profile
from helix_jax.private.search import SearchProvider, open_index

TICKET_SECONDS = 3600.0
_FITS = 4  # kept in memory at once
_PREPARED = 4  # masks of a key, ahead
_RECENT = 16  # keys whose masks are prepared
_KEYS = 512  # that asked last; with their masks some 0.5 MB each


class Asking(NamedTuple):
    """Who asks.

    Attributes:
      identity: as the service knows it.
      key: 16 bytes, of its registered key.
    """

    identity: str
    key: bytes


class Desk:
    """The providers of one worker."""

    def __init__(self, settings: ServiceSettings):
        """Open the state; heads and rows follow when they are asked for."""
        self.settings, self.deployment = settings, Deployment(settings)
        self.folder = Path(settings.state)
        self.ledger = Ledger(self.folder / "state.db")
        self.admission = Admission(self.folder / "admission.key")
        self._keys: OrderedDict[bytes, PublicKey] = OrderedDict()
        self._providers: dict[tuple[str, str], Provider] = {}
        self._indexes: dict[str, SearchProvider] = {}
        self._tickets: WeakKeyDictionary = WeakKeyDictionary()  # provider -> by key
        self._fits: OrderedDict[bytes, FitProvider] = OrderedDict()
        self._recent: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()

    def learn_key(self, bundle: bytes, profile: str) -> bytes:
        """Check a bundle and its proof; its name."""
        key = PublicKey.from_bytes(bundle, find_profile(profile))
        self._keys[key.key] = key
        self._keys.move_to_end(key.key)
        while len(self._keys) > _KEYS:
            self._forget(next(iter(self._keys)))
        return key.key

    def _forget(self, key: bytes) -> None:
        """Make room: of a key that nobody used for long, what can be had again."""
        del self._keys[key]
        for provider in (*self._providers.values(), *self._indexes.values()):
            provider.forget(key)
            self._tickets.get(provider, {}).pop(key, None)
        for one in [one for one in self._recent if one[2] == key]:
            del self._recent[one]

    def knows(self, key: bytes) -> bool:
        """Whether a key was learnt by this worker."""
        return key in self._keys

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
        self._admit(
            provider,
            asking,
            lambda key, ticket: provider.register(key, ticket, budget=budget),
        )
        self._recent[head, policy, asking.key] = None
        self._recent.move_to_end((head, policy, asking.key))
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
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
        self._admit(provider, asking, provider.register)
        return b"".join(provider.answer_pieces(message, parts))

    def prepare_one(self) -> bool:
        """Make one mask ahead for who asked lately; False where all are made."""
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

    def open_fit(self, number: bytes, rows: str, asking: Asking) -> bytes:
        """Begin a fit, or go on with it; its offer."""
        return self._fit(number, rows, asking, new=True).offer.to_bytes()

    def next_rows(self, number: bytes, rows: str, asking: Asking) -> int:
        """The number of the message of rows that a fit expects."""
        return self._fit(number, rows, asking).next_chunk

    def absorb(
        self, number: bytes, rows: str, asking: Asking, chunk: int, message: bytes
    ) -> int:
        """Take a message of rows, once; on the disk when this returns."""
        fit = self._fit(number, rows, asking)
        if chunk < fit.next_chunk:
            if not fit.was_absorbed(chunk, message):
                raise Refusal("conflict", f"rows {chunk} were other bytes before")
            return fit.next_chunk
        if chunk > fit.next_chunk:
            raise Refusal(
                "conflict", f"rows {fit.next_chunk} are expected, not {chunk}"
            )
        try:
            fit.absorb(message)
            fit.save(self._folder_of(number))
        except BaseException:
            # What is in memory may be ahead of the disk, which alone counts.
            if fit.next_chunk != chunk:
                self._fits.pop(number, None)
            raise
        return fit.next_chunk

    def mean(self, number: bytes, rows: str, asking: Asking) -> bytes:
        """The message of a fit's means."""
        fit = self._fit(number, rows, asking)
        return fit.keep_mean(self._folder_of(number)).read_bytes()

    def results(
        self, number: bytes, rows: str, asking: Asking, part: int
    ) -> tuple[int, bytes]:
        """How many messages of results a fit has, and one of them."""
        fit = self._fit(number, rows, asking)
        files = fit.keep_results(self._folder_of(number))
        if not 0 <= part < len(files):
            raise Refusal("not_found", f"there are {len(files)} messages of results")
        return len(files), files[part].read_bytes()

    def end_fit(self, number: bytes) -> None:
        """Forget a fit; what it was charged stays in the ledger."""
        self._fits.pop(number, None)
        shutil.rmtree(self._folder_of(number), ignore_errors=True)

    def about(self) -> dict[str, Any]:
        """What clients may know of all that is served; JSON-able."""
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
        for name, settings in self.settings.rows.items():
            served = self.deployment.rows(name)
            count, width = served.prepared.rows.shape
            rows[name] = served.about | {
                "profile": settings.profile,
                "rows": count,
                "width": width,
                "precision": settings.precision,
                "share": settings.share,
            }
        indexes = {}
        for name, settings in self.settings.indexes.items():
            index = self.index(name).about
            indexes[name] = {
                "profile": settings.profile,
                "policy": settings.policy or GUARDED,
                "rows": index["rows"],
                "model": index["model"],
            }
        return {"heads": heads, "rows": rows, "indexes": indexes}

    def spent(self, identity: str) -> dict[str, dict[str, Any]]:
        """Bits that a client has had: of heads; of indexes' scores and texts."""
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

    def _folder_of(self, number: bytes) -> Path:
        return self.folder / "fits" / number.hex()

    def _fit(
        self, number: bytes, rows: str, asking: Asking, *, new: bool = False
    ) -> FitProvider:
        found = self._fits.get(number)
        if found is None:
            folder = self._folder_of(number)
            if not new and not folder.is_dir():
                raise Refusal("not_found", f"fit {number.hex()} is not here")
            settings = self.settings.rows[rows]
            found = FitProvider(
                self.deployment.rows(rows).prepared,
                profile=settings.profile,
                precision=settings.precision,
                share=settings.share,
                ledger=self.ledger,
                admission=self.admission,
            )
            self._admit(found, asking, found.register)
            (self.folder / "fits").mkdir(0o700, exist_ok=True)
            found.restore(folder)
            if not has_state(folder):
                found.save(folder)  # its number, before anybody has it
            self._fits[number] = found
            while len(self._fits) > _FITS:
                self._fits.popitem(last=False)
        else:
            self._admit(found, asking, found.register)
        self._fits.move_to_end(number)
        return found

    def _admit(
        self,
        provider: Provider | FitProvider | SearchProvider,
        asking: Asking,
        register: Callable[[PublicKey, bytes], bytes],
    ) -> None:
        """Register a key with a ticket of its identity, and renew that in time."""
        if asking.key not in self._keys:
            raise Refusal(FORGOTTEN, f"key {asking.key.hex()}")
        self._keys.move_to_end(asking.key)
        until, now = self._tickets.setdefault(provider, {}), time.time()
        if until.get(asking.key, 0.0) > now:
            return
        ticket = self.admission.issue(
            asking.identity, asking.key, seconds=2 * TICKET_SECONDS
        )
        register(self._keys[asking.key], ticket)
        until[asking.key] = now + TICKET_SECONDS
