"""Claims on the protocol: what it costs, and what it gives away."""

import importlib.util

from experiments import attack, encrypted, private_fit
from experiments.claims.ledger import Bench, Claim, Finding, missing, verdict_of


def claims() -> list[Claim]:
    """Every claim of this file."""
    return [
        Claim(
            "encrypted_query",
            "An encrypted query takes under a second and under a megabyte.",
            "under 1 s, under 1 MB",
            check_query,
        ),
        Claim(
            "encrypted_fit",
            "The map can be fitted on encrypted rows.",
            "no numbers",
            check_fit,
        ),
        Claim(
            "recovery",
            "Raw answers give the provider's rows and weights away (a trap that the "
            "paper does not treat).",
            "d + 1 queries recover (V, c); as many rows as dimensions recover Z_A",
            check_recovery,
        ),
        Claim(
            "membership",
            "Membership in the fitting rows can hardly be inferred from W.",
            "accuracy .530 +- .113 with one target",
            check_membership,
        ),
    ]


def _crypto() -> bool:
    return importlib.util.find_spec("Pyfhel") is not None


def check_query(bench: Bench) -> Finding:
    """Holds if encryption, provider and decryption, and the bytes both ways, do."""
    if not _crypto():
        return missing("Pyfhel (make crypto)")
    summary = encrypted.run(
        encrypted.EncryptedConfig(workdir=bench.place("encrypted"), tiny=bench.tiny)
    )
    seconds = summary["encrypted/online_seconds"] + summary["encrypted/prepare_seconds"]
    size = summary["encrypted/query_bytes"] + summary["encrypted/answer_bytes"]
    return Finding(
        f"{1e3 * seconds:.1f} ms and {size / 1e3:.0f} kB (width "
        f"{summary['encrypted/width']}, {summary['encrypted/classes']} classes)",
        verdict_of([seconds < 1 and size < 1e6]),
        "profile guarded, masks counted, medians",
        {"seconds": seconds, "bytes": size},
    )


def check_fit(bench: Bench) -> Finding:
    """Holds if the cross-covariance is that of the clear rows to 1e-4."""
    if not _crypto():
        return missing("Pyfhel (make crypto)")
    summary = private_fit.run(
        private_fit.PrivateFitConfig(
            workdir=bench.place("private_fit"),
            rows=1000,
            source_width=96,
            target_width=96,
            tiny=bench.tiny,
        )
    )
    error = summary["private_fit/relative_error"]
    seconds = summary["private_fit/provider_seconds"]
    return Finding(
        f"relative error {error:.1e}, provider {seconds:.1f} s",
        verdict_of([error <= 1e-4]),
        "1,000 planted rows, 96 x 96; holds at a relative error of 1e-4",
        {"error": error, "seconds": seconds},
    )


def _attacks(bench: Bench) -> dict[str, float]:
    """The summary of experiments.attack, which runs once; names without "attack/"."""
    summary = attack.run(
        attack.AttackConfig(workdir=bench.place("attack"), tiny=bench.tiny)
    )
    return {name.removeprefix("attack/"): value for name, value in summary.items()}


def check_recovery(bench: Bench) -> Finding:
    """Holds if raw answers give everything away; and `guarded` must not."""
    if not _crypto():
        return missing("Pyfhel (make crypto)")
    found = _attacks(bench)
    weights, rows = (
        found[f"{one}_raw_exact_share"] for one in ("division", "row_division")
    )
    queries = found["extraction_logits_d_plus_1_logits_relative_error"]
    guarded, low, high = (
        found[f"division_guarded_{name}"]
        for name in ("correlation", "chance_low", "chance_high")
    )
    return Finding(
        f"from raw answers {weights:.0%} of weights and {rows:.0%} of rows exactly; "
        f"from d + 1 logits a classifier whose logits on other texts are off by "
        f"{queries:.0e}; under guarded correlation {guarded:+.2f} (chance {low:+.2f} "
        f"to {high:+.2f})",
        verdict_of([weights == 1, rows == 1, queries < 1e-3, low < guarded < high]),
        "holds if every attack succeeds on raw answers and the guarded one is within "
        "chance; the whole table is experiments.attack's",
        {"weights": weights, "rows": rows, "queries": queries, "guarded": guarded},
    )


def check_membership(bench: Bench) -> Finding:
    """Holds if the area under the attack's ROC curve is within the paper's spread."""
    if not _crypto():
        return missing("Pyfhel (make crypto)")
    found = _attacks(bench)
    start = "membership_all_likelihood_auc"
    value, low, high = (found[f"{start}{end}"] for end in ("", "_low", "_high"))
    rate = found["membership_all_likelihood_tpr_at_1_percent"]
    rows, few = (int(found[f"membership_{one}_rows"]) for one in ("all", "eighth"))
    fewer = found["membership_eighth_likelihood_auc"]
    return Finding(
        f"AUC {value:.3f} [{low:.3f}, {high:.3f}] and {rate:.1%} found at 1% false "
        f"alarms with {rows} rows; AUC {fewer:.3f} with {few}",
        verdict_of([low <= 0.643]),
        "likelihood-ratio attack with shadow maps, all targets; holds if the interval "
        "begins at .643 or below, the paper's mean and spread",
        {"auc": value, "auc_low": low, "auc_high": high, "tpr_at_1_percent": rate},
    )
