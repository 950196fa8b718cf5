"""What `aggregate` shows: all numbers, and what the sum of silos gains."""

from helix_jax.reports import Bars, Block, Table


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of all numbers."""
    rows = [
        [name.removeprefix("aggregate/").replace("_", " "), value]
        for name, value in sorted(summary.items())
    ]
    return ["quantity", "value"], rows


def result_blocks(summary: dict[str, float], silos: int) -> list[Block]:
    """All numbers, and what the sum of silos gains on one of them."""
    errors = {
        "all silos, summed": "all_silos_error",
        "best single silo": "single_silo_error_least",
        "mean single silo": "single_silo_error",
    }
    values = [100 * summary[f"aggregate/{name}"] for name in errors.values()]
    note = (
        f"{summary['aggregate/survivors']} of {silos} silos stayed. Equal to "
        "clear sum: 1 where the masked total is the silos' integers bit for bit."
    )
    return [
        Table("Moments summed under masks", *result_rows(summary), note=note),
        Bars(
            "What the map leaves unexplained on rows of all silos",
            "squared error, % of variance", list(errors),
            {"map": [[value] * 3 for value in values]},
        ),
    ]  # fmt: skip
