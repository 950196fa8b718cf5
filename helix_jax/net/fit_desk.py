"""A worker's operations for fits: each resumes from its folder, in any worker."""

import shutil
from collections import OrderedDict
from pathlib import Path

from helix_jax.net.deployment import Deployment
from helix_jax.net.enrolment import Asking, Enrolment
from helix_jax.net.refusals import Refusal
from helix_jax.private import FitProvider, Ledger
from helix_jax.private.fit_state import has_state

_FITS = 4  # kept in memory at once


class FitDesk:
    """The fits of one worker."""

    def __init__(
        self, deployment: Deployment, folder: Path, ledger: Ledger, keys: Enrolment
    ):
        """Take what is served, the folder of all fits, the ledger and the keys."""
        self._deployment, self._folder = deployment, folder
        self._ledger, self._keys = ledger, keys
        self._fits: OrderedDict[bytes, FitProvider] = OrderedDict()

    def open(self, number: bytes, rows: str, asking: Asking) -> bytes:
        """Begin or resume a fit; returns its offer."""
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

    def end(self, number: bytes) -> None:
        """Forget a fit; what it was charged stays in the ledger."""
        self._fits.pop(number, None)
        shutil.rmtree(self._folder_of(number), ignore_errors=True)

    def _folder_of(self, number: bytes) -> Path:
        return self._folder / number.hex()

    def _fit(
        self, number: bytes, rows: str, asking: Asking, *, new: bool = False
    ) -> FitProvider:
        found = self._fits.get(number)
        if found is None:
            folder = self._folder_of(number)
            if not new and not folder.is_dir():
                raise Refusal("not_found", f"fit {number.hex()} is not known")
            settings = self._deployment.settings.rows[rows]
            found = FitProvider(
                self._deployment.rows(rows).prepared,
                profile=settings.profile,
                precision=settings.precision,
                share=settings.share,
                ledger=self._ledger,
                admission=self._keys.admission,
            )
            self._keys.admit(found, asking, found.register)
            self._folder.mkdir(0o700, exist_ok=True)
            found.restore(folder)
            if not has_state(folder):
                found.save(folder)  # its number, before anybody has it
            self._fits[number] = found
            while len(self._fits) > _FITS:
                self._fits.popitem(last=False)
        else:
            self._keys.admit(found, asking, found.register)
        self._fits.move_to_end(number)
        return found
