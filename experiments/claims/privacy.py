"""Claims on the protocol: what it costs, and what it reveals."""

import importlib.util
from collections.abc import Iterator, Mapping

from experiments import attack, encrypted, private_fit
from experiments.claims.bench import Bench, claim, missing, read, show, values
from helix_jax.reports.ledger import Case
from helix_jax.runs import Experiment

NO_CRYPTO = missing("Pyfhel (make crypto)")


def _runs(
    bench: Bench, program: Experiment, name: str, **flags: object
) -> Iterator[Mapping[str, float]]:
    """The summary of a program, which is run once; nothing without Pyfhel."""
    if importlib.util.find_spec("Pyfhel"):
        flags |= {"workdir": bench.place(name), "tiny": bench.tiny}
        yield program.run(program.config_class(**flags))


@claim("under 1 s, under 1 MB", none=NO_CRYPTO)
def encrypted_query(bench: Bench) -> Iterator[Case]:
    """An encrypted query takes under a second and under a megabyte.

    profile guarded, masks included, medians
    """
    for summary in _runs(bench, encrypted.compute, "encrypted"):
        costs = ("online_seconds", "prepare_seconds", "query_bytes", "answer_bytes")
        online, ahead, up, down = values(summary, "encrypted/", *costs)
        width, classes = values(summary, "encrypted/", "width", "classes")
        seconds, size = online + ahead, up + down
        yield Case(
            f"{1e3 * seconds:.1f} ms and {size / 1e3:.0f} kB (width {width}, {classes} "
            "classes)",
            seconds < 1 and size < 1e6,
            {"seconds": seconds, "bytes": size},
        )


@claim("no numbers", none=NO_CRYPTO)
def encrypted_fit(bench: Bench) -> Iterator[Case]:
    """The map can be fitted on encrypted rows.

    1,000 planted rows, 96 x 96, 12 bits per result; holds if the relative error of the
    cross-covariance is at most 1 / sqrt(1,000), the sampling error of a correlation
    """
    sizes = {"rows": 1000, "source_width": 96, "target_width": 96}
    for summary in _runs(bench, private_fit.compute, "private_fit", **sizes):
        error, seconds = values(
            summary, "private_fit/", "relative_error", "provider_seconds"
        )
        yield Case(
            f"relative error {error:.1e}, provider {seconds:.1f} s",
            error <= sizes["rows"] ** -0.5,
            {"error": error, "seconds": seconds},
        )


@claim(
    "d + 1 queries recover (V, c); as many rows as dimensions recover Z_A",
    none=NO_CRYPTO,
)
def recovery(bench: Bench) -> Iterator[Case]:
    """Raw answers reveal the provider's rows and weights (a weakness that the paper
    does not treat).

    holds if every attack succeeds on raw answers and the guarded one is within chance;
    experiments.attack has the whole table
    """
    for summary in _runs(bench, attack.compute, "attack"):
        weights, rows, queries = values(
            summary,
            "attack/",
            "division_raw_exact_share",
            "row_division_raw_exact_share",
            "extraction_logits_d_plus_1_logits_relative_error",
        )
        guarded, low, high = values(
            summary,
            "attack/division_guarded_",
            "correlation",
            "chance_low",
            "chance_high",
        )
        yield Case(
            f"from raw answers {weights:.0%} of weights and {rows:.0%} of rows exactly",
            weights == 1 and rows == 1,
            {"weights": weights, "rows": rows},
        )
        yield Case(
            "from d + 1 logits a classifier whose logits on other texts are off by "
            f"{queries:.0e}",
            queries < 1e-3,
            {"queries": queries},
        )
        yield Case(
            f"under guarded correlation {guarded:+.2f} (chance {low:+.2f} to "
            f"{high:+.2f})",
            low < guarded < high,
            {"guarded": guarded},
        )


@claim("accuracy .530 +- .113 with one target", none=NO_CRYPTO)
def membership(bench: Bench) -> Iterator[Case]:
    """Membership in the fitting rows can hardly be inferred from W.

    likelihood-ratio attack with shadow maps, on all targets; holds if the interval of
    the AUC begins at .643 or below, the paper's mean plus its spread
    """
    for summary in _runs(bench, attack.compute, "attack"):
        start = "attack/membership_"
        auc = read(summary, f"{start}all_likelihood_auc")
        rate, fewer, rows, few = values(
            summary,
            start,
            "all_likelihood_tpr_at_1_percent",
            "eighth_likelihood_auc",
            "all_rows",
            "eighth_rows",
        )
        numbers = dict(zip(("auc", "auc_low", "auc_high"), auc))
        yield Case(
            f"AUC {show(auc, scale=1, digits=3)} and {rate:.1%} found at 1% false "
            f"alarms with {int(rows)} rows; AUC {fewer:.3f} with {int(few)}",
            auc.low <= 0.643,
            numbers | {"tpr_at_1_percent": rate},
        )


CLAIMS = (encrypted_query, encrypted_fit, recovery, membership)
