"""The rows of a fit and its offer to the client, checked before any work."""

from collections.abc import Iterable

from helix_jax.private.accountant import Privacy
from helix_jax.private.fit_targets import FitOffer, make_offer
from helix_jax.private.policies import PRECISIONS
from helix_jax.private.prepared_rows import PreparedRows
from helix_jax.private.prepared_rows_passes import prepare_rows
from helix_jax.private.profiles import find_profile
from helix_jax.private.self_test import require_exact
from helix_jax.types import Array


def offer_rows(
    y: Array | PreparedRows,
    *,
    ids: Iterable[str] | None,
    profile: str,
    precision: int | None,
    privacy: Privacy | None,
) -> tuple[PreparedRows, FitOffer]:
    """Prepare rows, unless they are prepared already, and make a new fit's offer.

    Args:
      y, ids, profile, precision, privacy: as in `FitProvider`.

    Raises:
      ValueError: a shape, a value or a combination of options is not allowed.
      RuntimeError: the device computes wrongly, see `self_test`.
    """
    parameters = find_profile(profile)
    require_exact(parameters)
    if isinstance(y, PreparedRows):
        if ids is not None or privacy is not None:
            raise ValueError(
                "FitProvider: prepared rows have their ids and privacy already; give "
                "both to prepare_rows, not here."
            )
        privacy = y.privacy
    if privacy is not None and not parameters.guarded:
        raise ValueError(
            f"FitProvider: profile {profile!r} shows more than results, so noise on "
            "results does not protect rows; use 'guarded' for differential privacy."
        )
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(
            f"FitProvider: precision must be from {PRECISIONS[0]} to "
            f"{PRECISIONS[-1]} bits or None, got {precision}."
        )
    if not isinstance(y, PreparedRows):
        y = prepare_rows(y, ids=ids, privacy=privacy)
    offer = make_offer(
        y.targets,
        y.rows.shape[0],
        parameters,
        y.ids_digest,
        precision=precision,
        privacy=privacy,
    )
    return y, offer
