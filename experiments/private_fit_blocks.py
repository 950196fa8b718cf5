"""What `private_fit` shows: accuracy, errors, time and bytes."""

from experiments.shared.about import BRACKETS
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table: accuracy, errors, time, bytes."""
    accuracies = {
        "test_accuracy": "accuracy, map fitted under encryption, %",
        "plain_test_accuracy": "accuracy, map fitted in the clear, %",
    }
    rows: list[list[object]] = [
        [said, format_interval(summary, f"private_fit/{name}")]
        for name, said in accuracies.items()
        if f"private_fit/{name}" in summary
    ]
    others = {
        "map_error": ("relative error of the map", 1),
        "relative_error": ("relative error of the cross-covariance", 1),
        "client_seconds": ("client, s", 1),
        "provider_seconds": ("provider, s", 1),
        "upload_bytes": ("client to provider, MB", 1e-6),
        "download_bytes": ("provider to client, MB", 1e-6),
    }
    rows += [
        [said, f"{scale * summary[f'private_fit/{name}']:.3g}"]
        for name, (said, scale) in others.items()
        if f"private_fit/{name}" in summary
    ]
    return ["measure", "value"], rows


def result_blocks(summary: dict[str, float], profile: str) -> list[Block]:
    """The table, accuracy beside the plain map's, time and bytes by party."""
    note = (
        f"Profile {profile}. The plain fit sees the same rows and chooses its "
        "penalty in the same way."
    )
    if "private_fit/test_accuracy" in summary:
        note += f" {BRACKETS}"
    blocks: list[Block] = [Table("Encrypted fit", *result_rows(summary), note=note)]
    if "private_fit/test_accuracy" in summary:
        both = {"under encryption": "", "in the clear": "plain_"}
        values = [
            read_interval(summary, f"private_fit/{name}test_accuracy", scale=100)
            for name in both.values()
        ]
        blocks.append(
            Bars(
                "Accuracy of the target's probe",
                "accuracy, %",
                list(both),
                {"map fitted": values},
                note=BRACKETS,
            )
        )
    for title, label, unit, scale, groups in (
        ("Time of the fit", "seconds", "seconds", 1, ("client", "provider")),
        ("Bytes of the fit", "MB", "bytes", 1e-6, ("upload", "download")),
    ):
        values = [scale * summary[f"private_fit/{name}_{unit}"] for name in groups]
        blocks.append(Bars(title, label, groups, {"fit": [[v] * 3 for v in values]}))
    return blocks
