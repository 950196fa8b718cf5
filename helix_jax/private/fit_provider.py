"""The provider of an encrypted fit, which can be kept in a folder and resumed."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.locks import hold
from helix_jax.paths import local_path, os_errors
from helix_jax.private.fit_plan import FitOffer, transcript
from helix_jax.private.fit_role import FitRole
from helix_jax.private.fit_state import (
    FitState,
    has_state,
    read_state,
    require_fit_of,
    write_state,
)
from helix_jax.private.kept_answers import KeptAnswers
from helix_jax.private.turns import one_at_a_time


class FitProvider(FitRole):
    """The owner of target rows, who takes part in one encrypted fit.

    What it has absorbed can be kept in a folder, and so can its answers, which are then
    given again however its process ended.

    Attributes:
      offer: what the client may know.
    """

    @one_at_a_time
    def keep_mean(self, folder: str | os.PathLike) -> Path:
        """Write the message of the means to a file, complete before it is charged.

        Once charged, the same bytes are given again however this process ends. The same
        holds for `keep_results`.

        Args:
          folder: that of `save` and `restore`.

        Raises:
          ProtocolError: as for `mean_message`, or the file cannot be written.
        """
        kept = KeptAnswers(self._folder_of_account(folder), self.offer.number)
        if not kept.has("mean") and self._mean_message is None:
            self._account.require_new(b"mean", self.offer.number)
        (file,) = kept.keep("mean", lambda: [self._mean_message or self._mean()])
        self._charge_mean(kept=True)
        self._mean_message = file.read_bytes()
        return file

    @one_at_a_time
    def keep_results(self, folder: str | os.PathLike) -> list[Path]:
        """Write the messages of the results to files, complete before they are charged.

        Raises:
          ProtocolError: as for `results`, or the files cannot be written.
        """
        plan = self._absorbed.complete_plan()
        name = f"results-{transcript(self._absorbed.digests).hex()}"
        kept = KeptAnswers(self._folder_of_account(folder), self.offer.number)
        if not kept.has(name):
            self._account.require_new(b"results", self.offer.number)
        files = kept.keep(name, lambda: self._results(plan, list(self._absorbed.sums)))
        self._charge_results(plan, kept=True)
        return files

    @one_at_a_time
    def save(self, folder: str | os.PathLike) -> None:
        """Save what was absorbed so far in a folder, completely or not at all.

        Raises:
          ProtocolError: it cannot be written, or another fit is kept there; whatever
            was kept there before stays intact.
        """
        folder = self._folder_of_account(folder)
        with hold(folder, "a provider's save"):
            absorbed = self._absorbed
            state = FitState(
                absorbed.digests,
                self.offer.to_bytes(),
                self._account.ledger.name,
                self.identity,
                self._registered().key,
                absorbed.plan.width if absorbed.plan else 0,
                absorbed.row_bits,
                self._prepared.hashes.fingerprint,
                [np.asarray(part) for part in absorbed.sums],
                self._mean_message,
            )
            write_state(folder, state)

    @one_at_a_time
    def restore(self, folder: str | os.PathLike) -> int:
        """Resume a saved fit of the same rows and client, if there is one.

        The offer is then that of the saved fit. What it has answered is in the ledger.

        Returns:
          The number of the message of rows that is expected next.

        Raises:
          ProtocolError: it is damaged, or of other rows or another client.
        """
        folder = local_path(folder, "the folder of a provider's state")
        if not folder.is_dir():
            return self.next_chunk
        self._keep_account(folder)
        if not has_state(folder):
            return self.next_chunk
        name = self._account.ledger.name
        state = read_state(
            folder, offer=self.offer, identity=self.identity, ledger=name
        )
        with jax.enable_x64(True):
            # The guard allowed this fit before; answers are charged when given.
            absorbed = self._absorbed
            absorbed.plan = self._plan_of(state.width) if state.width else None
            self.offer = FitOffer.from_bytes(state.offer, self.offer.profile)
            absorbed.row_bits = state.bits
            if state.mean is not None:
                self._mean_message = state.mean
            absorbed.digests = state.absorbed
            absorbed.sums = [jnp.asarray(part) for part in state.sums]
        return self.next_chunk

    def _folder_of_account(self, folder: str | os.PathLike) -> Path:
        """The folder of this fit's state, created if it is missing."""
        folder = local_path(folder, "the folder of a provider's state")
        with os_errors(folder, "be written", ProtocolError):
            # Sums are not masked: with the client's key they reveal all rows.
            folder.mkdir(0o700, parents=True, exist_ok=True)
        with hold(folder, "a provider's save"):
            self._keep_account(folder)
        return folder

    def _keep_account(self, folder: Path) -> None:
        """Keep the account in the folder, unless another fit's state is there."""
        if has_state(folder):
            key = self._registered().key
            require_fit_of(folder, key=key, rows=self._prepared.hashes.fingerprint)
        self._account = self._account.kept_beside(folder)
