"""The client keys that may ask a layer, and what is kept ready for each."""

import os

from helix_jax.errors import KeyRoleError
from helix_jax.private.accounts import Account, PublicKey
from helix_jax.private.admission import Admission, Ticket, admit
from helix_jax.private.covers import mask_maker
from helix_jax.private.forks import require_own
from helix_jax.private.labels.desk import Desk
from helix_jax.private.masks import MaskPool
from helix_jax.private.prepared_layer import PreparedLayer
from helix_jax.private.profiles import Profile

PREPARED = 256  # most answer ciphertexts whose masks are made ahead


class LayerKeys:
    """The client keys that may query a layer; `Provider` also answers.

    Attributes:
      layer: what clients may know.
    """

    def __init__(self, prepared: PreparedLayer, admission: Admission | None):
        """Begin with no key, in this process."""
        self._prepared, self._admission = prepared, admission
        self.layer = prepared.layer
        self._accounts: dict[bytes, Account] = {}
        self._process = os.getpid()

    def register(
        self,
        bundle: bytes | PublicKey,
        ticket: bytes | None = None,
        *,
        budget: float | None = None,
    ) -> bytes:
        """Admit a client's public key; admitting it again takes a later ticket.

        Args:
          bundle: of the client, or the key that was read from it, for who registers
            one with several providers and checks its proof once.
          ticket: of the admission, where there is one.
          budget: bits that this client may have, in place of the provider's.

        Returns:
          Its name, 16 bytes.

        Raises:
          ProtocolError: one of them is malformed, or the bundle proves no key.
          KeyRoleError: the ticket does not admit this key, or as another than before.
        """
        self._require_own()
        check_budget(budget, self.layer.profile)
        key = PublicKey.admissible(bundle, self.layer.profile)
        return self._admit(key, ticket, budget)

    def _admit(
        self, key: PublicKey, ticket: bytes | None, budget: float | None = None
    ) -> bytes:
        return self.enrol(key, admit(self._admission, ticket, key.key), budget)

    def enrol(
        self, key: PublicKey, admitted: Ticket, budget: float | None = None
    ) -> bytes:
        """Admit a key whose proof, and a ticket which, was verified elsewhere here.

        Raises:
          KeyRoleError: the ticket is of another identity than before.
        """
        account = self._accounts.get(key.key)
        if account is None:
            layer, pool = self.layer, None
            if layer.profile.guarded and layer.plan.answers <= PREPARED:
                make = mask_maker(self._prepared, key)
                pool = MaskPool(lambda: make().kept())
            desk = Desk(layer) if layer.policy.name == "label" else None
            account = Account(key, pool, admitted, desk)
            account = self._accounts.setdefault(key.key, account)
        account.renew(admitted)
        account.budget = budget
        return key.key

    def forget(self, key: bytes) -> None:
        """Drop what is kept for a client key, its masks too; what it had stays counted.

        A key that comes back is registered anew; labels that it waits for are lost.
        """
        self._accounts.pop(key, None)

    def masks(self, key: bytes) -> MaskPool:
        """The pool of masks of a key, to prepare them ahead.

        Raises:
          KeyRoleError: the key is not registered.
          ValueError: answers have no masks in this profile, or are so large that
            theirs are made when they are sent.
        """
        pool, layer = self._account(key).pool, self.layer
        if pool is None and not layer.profile.guarded:
            raise ValueError(f"profile {layer.profile.name!r} answers without masks.")
        if pool is None:
            raise ValueError(
                f"masks of {layer.plan.answers} ciphertexts are not prepared, only "
                f"those of {PREPARED} or less; they are made with the answer."
            )
        return pool

    def _account(self, key: bytes) -> Account:
        self._require_own()
        if key not in self._accounts:
            raise KeyRoleError(
                f"the client key {key.hex()} is not registered here; send its bundle "
                "first."
            )
        self._accounts[key].require_current()
        return self._accounts[key]

    def _require_own(self) -> None:
        """Refuse to continue in a forked child, whose masks are its parent's."""
        require_own(self._process, "this Provider")


def check_budget(budget: float | None, profile: Profile) -> None:
    """Refuse budgets that bound nothing."""
    if budget is not None and not budget > 0:
        raise ValueError(f"Provider: budget must be positive bits, got {budget}.")
    if budget is not None and not profile.guarded:
        raise ValueError(
            f"Provider: a budget counts bits of weights that are hidden; answers "
            f"of profile {profile.name!r} hide none. Use 'guarded'."
        )
