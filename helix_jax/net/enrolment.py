"""Keys of clients in one worker: checked once, registered where needed, renewed."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from helix_jax.net.refusals import FORGOTTEN, Refusal
from helix_jax.private import Admission
from helix_jax.private.accounts import PublicKey
from helix_jax.private.profiles import find_profile

TICKET_SECONDS = 3600.0
KEYS = 512  # the last to ask; about 0.5 MB each with their masks


class Asking(NamedTuple):
    """The client of a request.

    Attributes:
      identity: as the service knows it.
      key: 16 bytes, of its registered key.
    """

    identity: str
    key: bytes


class Enrolment:
    """The keys that a worker knows, and the tickets that it gave for them.

    Attributes:
      admission: whose tickets they are.
    """

    def __init__(self, admission: Admission, on_forget: Callable[[bytes], None]):
        """Take an admission, and what to call when a key is dropped."""
        self.admission, self._on_forget = admission, on_forget
        self._keys: OrderedDict[bytes, PublicKey] = OrderedDict()
        self._tickets: WeakKeyDictionary = WeakKeyDictionary()  # provider -> by key

    def learn(self, bundle: bytes, profile: str) -> bytes:
        """Check a bundle and its proof; its name."""
        key = PublicKey.from_bytes(bundle, find_profile(profile))
        self._keys[key.key] = key
        self._keys.move_to_end(key.key)
        while len(self._keys) > KEYS:
            self._forget(next(iter(self._keys)))
        return key.key

    def _forget(self, key: bytes) -> None:
        """Make room: drop what can be made again of the key unused for longest."""
        del self._keys[key]
        for until in self._tickets.values():
            until.pop(key, None)
        self._on_forget(key)

    def admit(
        self,
        provider: Any,
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
