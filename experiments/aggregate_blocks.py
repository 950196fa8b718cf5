"""What `aggregate` shows: all numbers, and what the sum of silos gains."""

from helix_jax.reports import Bars, Block, Table

SAID = {  # name -> words, scale
    "equal_to_clear_sum": ("total equal to the silos' integers, bit for bit", 1),
    "survivors": ("silos that stayed", 1),
    "rows": ("rows of those silos", 1),
    "vector_length": ("numbers that a silo sends", 1),
    "fraction_bits": ("bits behind the point of each", 1),
    "upload_bytes": ("a silo's messages, MB", 1e-6),
    "silo_seconds": ("a silo's time, mean, s", 1),
    "aggregator_seconds": ("the aggregator's time, s", 1),
    "moments_relative_error": ("largest relative error of the moments", 1),
    "relative_error": ("relative error of the map, against pooled rows", 1),
    "all_silos_error": ("unexplained by the map of all silos, % of variance", 100),
    "single_silo_error_least": ("unexplained by the best map of one silo, %", 100),
    "single_silo_error": ("unexplained by a map of one silo, mean, %", 100),
    "predictions_relative_error": ("predictions summed under encryption, error", 1),
    "predictions_single_silo_gap": ("one silo's prediction against the mean's, gap", 1),
    "predictions_upload_bytes": ("an encrypted answer, kB", 1e-3),
    "predictions_aggregator_seconds": ("the aggregator's sum of answers, s", 1),
}


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of all numbers."""
    rows: list[list[object]] = []
    for name, (said, scale) in SAID.items():
        value = summary.get(f"aggregate/{name}")
        if name == "equal_to_clear_sum" and value is not None:
            rows.append([said, bool(value)])
        elif value is not None:
            rows.append([said, value if scale == 1 else scale * value])
    return ["quantity", "value"], rows


def result_blocks(summary: dict[str, float], silos: int) -> list[Block]:
    """All numbers, and what the sum of silos gains on one of them."""
    errors = {
        "all silos, summed": "all_silos_error",
        "best single silo": "single_silo_error_least",
        "mean single silo": "single_silo_error",
    }
    values = [100 * summary[f"aggregate/{name}"] for name in errors.values()]
    note = f"{summary['aggregate/survivors']} of {silos} silos stayed."
    return [
        Table("Moments summed under masks", *result_rows(summary), note=note),
        Bars(
            "What the map leaves unexplained on rows of all silos",
            "squared error, % of variance",
            list(errors),
            {"map": [[value] * 3 for value in values]},
        ),
    ]
