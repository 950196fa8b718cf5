"""Attacks on the rows of a fit: division, projection, choice, packing, lattices."""

import importlib.util
from typing import NamedTuple

import numpy as np

from helix_jax.alignment import apply_map, fit_ridge, from_batch, ridge_at
from helix_jax.attacks import (
    chance,
    row_division,
    row_lattice,
    row_packing,
    row_projection,
)
from helix_jax.attacks.setting import (
    Finding,
    Setting,
    correlation_cells,
    correlation_numbers,
)
from helix_jax.errors import ProtocolError
from helix_jax.private.fit_bits import fewest_rows
from helix_jax.private.internals import integer_rows, unmasked_results
from helix_jax.private.policies import PRECISION, PRECISIONS, SHARE
from helix_jax.private.rehearsal import FitRehearsal, rehearse_fit
from helix_jax.stats import relative_error


class EncryptedFit(NamedTuple):
    """A finished encrypted fit and its messages.

    Attributes:
      parties: both sides.
      sent: the client's messages of rows.
      answers: the provider's messages of results.
      cross: [d_x, d_y] X' Y of the centred rows, as the client obtains it.
    """

    parties: FitRehearsal
    sent: list[bytes]
    answers: list[bytes]
    cross: np.ndarray


def fit_encrypted(
    x: np.ndarray,
    y: np.ndarray,
    profile: str,
    *,
    precision: int | None = PRECISION,
    share: float = SHARE,
    masked: bool = True,
) -> EncryptedFit:
    """Run both sides of an encrypted fit, and keep the messages.

    Args:
      x, y: rows of both sides.
      profile: of the provider.
      precision, share: of its guard.
      masked: False reads the sums without masks, to the 40 bits of their words.
    """
    messages: dict[str, list[bytes]] = {"rows": [], "mean": [], "covariance": []}
    parties = rehearse_fit(
        x,
        y,
        profile=profile,
        precision=precision,
        share=share,
        on_message=lambda kind, message: messages[kind].append(message),
    )
    moments = parties.moments
    if not masked:
        for message in unmasked_results(parties.provider):
            parties.client.read(message)
        moments = parties.client.moments()
    cross = float(moments.count) * np.asarray(moments.cov_xy)
    return EncryptedFit(parties, messages["rows"], messages["covariance"], cross)


def measure_row_division(
    setting: Setting, *, profile: str, rows: int, columns: int, rng: np.random.Generator
) -> Finding:
    """Recover the provider's rows by dividing second parts.

    Args:
      setting: what to attack.
      profile: of the protected provider.
      rows: of the fit; 0 for the fewest that the guard allows.
      columns: of the target.
      rng: for the choice of rows and the shuffles.
    """
    rows = rows or guarded_rows(setting.x.shape[1])
    taken = rng.permutation(len(setting.x))[:rows]
    fit = fit_encrypted(setting.x[taken], setting.y[taken][:, :columns], profile)
    plan, provider = fit.parties.client.plan, fit.parties.provider
    truth = integer_rows(provider)
    polynomials = row_division.row_polynomials(fit.sent, plan, provider)
    raw = row_division.raw_covariance(provider)
    exact = row_division.solve_rows(polynomials, raw, provider).integers == truth
    sent = row_division.masked_covariance(fit.answers, plan, provider)
    guess = row_division.solve_rows(polynomials, sent, provider)
    correlation = chance.correlate(guess.integers, truth, rng=rng)
    summary = {
        "row_division_raw_exact_share": float(exact.mean()),
        "row_division_rows": len(taken),
        **correlation_numbers(correlation, "row_division_guarded"),
    }
    control = f"{100 * exact.mean():.4g}% of {len(taken)} rows exact"
    cells = correlation_cells(correlation)
    return Finding(summary, [["rows by dividing c1", "one fit", control, *cells]])


def measure_projection(
    setting: Setting, *, profile: str, columns: int, rng: np.random.Generator
) -> Finding:
    """Recover rows from the cross-covariance itself, for fits of few and of many rows.

    The first size runs encrypted, without masks and without the guard; the others use
    the exact product. With the guard a fit of few rows must be refused. Arguments as
    above.
    """
    width, order = setting.x.shape[1], rng.permutation(len(setting.x))
    half = len(order) // 2
    rows: list[list[str]] = []
    summary: dict[str, float] = {}
    few = order[:width]
    try:
        fit_encrypted(setting.x[few], setting.y[few][:, :columns], profile)
        refused = False
    except ProtocolError:
        refused = True
    summary["projection_few_rows_refused"] = int(refused)
    sizes = {
        "half_d": width // 2,
        "d": width,
        "2d": 2 * width,
        "4d": 4 * width,
        "8d": 8 * width,
        "half_pool": half,
    }
    for name, count in sizes.items():
        if count > half:
            continue
        taken, other = order[:count], order[half : half + count]
        x, y = (
            z[taken][:, :c].astype(np.float64)
            for z, c in ((setting.x, None), (setting.y, columns))
        )
        encrypted = name == "half_d"
        fit = _unguarded(x, y, profile) if encrypted else None
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        guess = row_projection.recover_rows(x, fit.cross if fit else x.T @ y)
        # The best guess without these rows: a map fitted on as many others.
        path = fit_ridge(
            from_batch(setting.x[other], setting.y[other]), penalties=[setting.penalty]
        )
        known = np.asarray(apply_map(ridge_at(path, 0).map, setting.x[taken]))
        known = known[:, :columns] - known[:, :columns].mean(axis=0)
        errors = [relative_error(estimate, y) for estimate in (guess, known)]
        start = f"projection_{name}"
        summary |= {
            f"{start}_rows": count,
            f"{start}_relative_error": errors[0],
            f"{start}_map_relative_error": errors[1],
        }
        cell = f"error {errors[0]:.3g}"
        rows.append(
            [
                "" if rows else "rows from the cross-covariance",
                f"{count} rows, {width} dimensions",
                cell,
                "refused" if refused and count < guarded_rows(width) else cell,
                f"error {errors[1]:.3g}: a map of others",
            ]
        )
    return Finding(summary, rows)


def measure_chosen_rows(
    setting: Setting, *, profile: str, columns: int, rng: np.random.Generator
) -> Finding:
    """Read rows that the client chooses, despite the guard; arguments as above."""
    width = setting.x.shape[1]
    taken = rng.permutation(len(setting.x))[: guarded_rows(width)]
    y = setting.y[taken][:, :columns].astype(np.float64)
    targets = np.arange(width)
    x = row_projection.chosen_rows(len(y), width, targets)
    truth = (y - y.mean(axis=0))[targets]
    errors = [
        relative_error(fit.cross, truth)
        for fit in (_unguarded(x, y, profile), fit_encrypted(x, y, profile))
    ]
    cells = [f"error {error:.1g}" for error in errors]
    row = ["chosen rows", f"{width} of {len(y)} rows", *cells, "error 1"]
    numbers = dict(zip(("chosen_rows_exact", "chosen_rows"), errors))
    return Finding({f"{k}_relative_error": v for k, v in numbers.items()}, [row])


def measure_packed_rows(
    setting: Setting, *, profile: str, columns: int, rng: np.random.Generator
) -> Finding:
    """Read two rows from each number, by its precision; arguments as above."""
    width = setting.x.shape[1]
    taken = rng.permutation(len(setting.x))[: 2 * width - 1]
    y = setting.y[taken][:, :columns].astype(np.float64)
    packing = row_packing.pack(len(y), width)
    truth = (y - y.mean(axis=0))[: 2 * (width - 1)]
    numbers: dict[str, float] = {}
    rows: list[list[str | None]] = []
    for precision in (None, PRECISIONS[-1], PRECISION):
        fit = fit_encrypted(
            packing.x,
            y,
            profile,
            precision=precision,
            share=np.inf,
            masked=precision is not None,
        )
        exponents = fit.parties.client.offer.exponents
        found = row_packing.unpack(packing, fit.cross, exponents)
        errors = [relative_error(found[place::2], truth[place::2]) for place in (0, 1)]
        name = f"packed_rows_{precision or 'exact'}"
        numbers |= {f"{name}_first_error": errors[0], f"{name}_second_error": errors[1]}
        cell = f"errors {errors[0]:.1g} and {errors[1]:.1g}"
        told = f"{precision} bits a result" if precision else "not masked"
        cells = (cell, None) if precision is None else (None, cell)
        rows.append(["" if rows else "two rows a number", told, *cells, "error 1"])
    return Finding(numbers, rows)


def measure_lattice(
    setting: Setting, *, profile: str, rng: np.random.Generator
) -> Finding:
    """Recover a column of rows by lattice reduction, with Gaussian client rows.

    1.7 rows per dimension; empty if fpylll is not installed. Arguments as above.
    """
    if importlib.util.find_spec("fpylll") is None:
        return Finding({}, [])
    taken = rng.permutation(len(setting.x))[:27]
    x, y = rng.standard_normal((27, 16)), setting.y[taken][:, :1].astype(np.float64)
    shares = []
    for masked in (False, True):
        fit = fit_encrypted(x, y, profile, share=np.inf, masked=masked)
        truth = integer_rows(fit.parties.provider)[:, 0]
        units = np.ldexp(1.0, fit.parties.client.offer.exponents)
        cross = (fit.cross / units)[:, 0]
        centred = x - x.mean(axis=0)
        error = float(np.std(cross - centred.T @ truth))
        found = row_lattice.solve_lattice(centred, cross, error=error)
        shares.append(0.0 if found is None else float(np.mean(found == truth)))
    names = ("lattice_exact_share", "lattice_guarded_share")
    cells = [f"{share:.0%} of the integers" for share in shares]
    row = ["Gaussian rows by a lattice", "27 rows, 16 dimensions", *cells, "0%"]
    return Finding(dict(zip(names, shares)), [row])


def guarded_rows(width: int) -> int:
    """The fewest rows for which the guard allows a fit from `width` dimensions."""
    return fewest_rows(width, precision=PRECISION, share=SHARE)


def _unguarded(x: np.ndarray, y: np.ndarray, profile: str) -> EncryptedFit:
    return fit_encrypted(x, y, profile, share=np.inf, masked=False)
