"""The client keys that may query a layer, and what is prepared for each."""

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

PREPARED = 256  # largest answer, in ciphertexts, whose masks are made ahead


class LayerKeys:
    """The client keys that may query a layer; `Provider` also answers.

    Attributes:
      layer: its public description.
    """

    def __init__(self, prepared: PreparedLayer, admission: Admission | None):
        """Start without keys; only this process may use the object."""
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
        """Admit a client's public key; admitting it again needs a later ticket.

        Args:
          bundle: the client's, or the key that was read from it, for callers that
            register one key with several providers and check its proof once.
          ticket: from the admission, where there is one.
          budget: bits that this client may have, in place of the provider's budget.

        Returns:
          The key's name, 16 bytes.

        Raises:
          ProtocolError: the bundle or the ticket is malformed, or the bundle's proof of
            its key is wrong.
          KeyRoleError: the ticket does not admit this key, or names a different
            identity than before.
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
        """Admit a key whose proof and ticket this process has already verified.

        Raises:
          KeyRoleError: the ticket names a different identity than before.
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
        """Drop a client key and its masks; what it was given stays in the ledger.

        A key that returns must register again; labels that it is waiting for are lost.
        """
        self._accounts.pop(key, None)

    def masks(self, key: bytes) -> MaskPool:
        """The pool of a key's masks, for preparing them ahead.

        Raises:
          KeyRoleError: the key is not registered.
          ValueError: the profile has no masks, or answers are so large that their masks
            are made when the answers are sent.
        """
        pool, layer = self._account(key).pool, self.layer
        if pool is None and not layer.profile.guarded:
            raise ValueError(f"profile {layer.profile.name!r} answers without masks.")
        if pool is None:
            raise ValueError(
                f"masks of {layer.plan.answers} ciphertexts are not prepared, only "
                f"those of {PREPARED} or fewer; they are made with the answer."
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
        """Refuse to continue in a forked child: the masks belong to its parent."""
        require_own(self._process, "this Provider")


def check_budget(budget: float | None, profile: Profile) -> None:
    """Refuse a budget that would limit nothing."""
    if budget is not None and not budget > 0:
        raise ValueError(f"Provider: budget must be positive bits, got {budget}.")
    if budget is not None and not profile.guarded:
        raise ValueError(
            f"Provider: a budget counts bits of hidden weights; answers "
            f"of profile {profile.name!r} hide none. Use 'guarded'."
        )
