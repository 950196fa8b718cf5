"""What `encrypted` shows: time, bytes, error, agreement."""

from experiments.shared.about import BRACKETS
from experiments.shared.conversation import STAGES
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval

SAID = dict(
    zip(STAGES, ("masks, ahead", "client encrypts", "provider", "client decrypts"))
)
SPREAD = "median [2.5th to 97.5th percentile of the queries]"


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table; what a bracket is stands in its row."""
    names = {
        "online_seconds": ("client and provider together, ms", 1e3, "sum of medians"),
        **{
            f"{stage}_seconds": (f"{said}, ms", 1e3, SPREAD)
            for stage, said in SAID.items()
        },
        "query_bytes": ("query, kB", 1e-3, "one message"),
        "answer_bytes": ("answer, kB", 1e-3, "one message"),
        "key_bytes": ("public key, sent once, kB", 1e-3, "one message"),
        "argmax_agreement": ("same answer as in the clear, %", 100, "share of queries"),
        "accuracy": ("accuracy under encryption, %", 100, BRACKETS.rstrip(".")),
        "plain_accuracy": ("accuracy in the clear, %", 100, BRACKETS.rstrip(".")),
    }
    rows: list[list[object]] = [
        [said, format_interval(summary, f"encrypted/{name}", scale=scale), what]
        for name, (said, scale, what) in names.items()
        if f"encrypted/{name}" in summary
    ]
    errors = {
        "max_error": ("largest error of a logit", "of all queries"),
        "stated_error": ("its stated bound", "of the layer"),
        "largest_logit": ("largest logit", "of all queries"),
        "max_energy_error": ("largest error of the energy score", "of all queries"),
    }
    rows += [
        [said, f"{summary[f'encrypted/{name}']:.2g}", what]
        for name, (said, what) in errors.items()
        if f"encrypted/{name}" in summary
    ]
    return ["measure", "value", "what it is"], rows


def result_blocks(summary: dict[str, float], profile: str, policy: str) -> list[Block]:
    """The table, the time of each stage, and the bytes of a query both ways."""
    width, classes = (summary[f"encrypted/{name}"] for name in ("width", "classes"))
    title = f"Encrypted layer, width {width}, {classes} classes"
    note = f"Profile {profile}, policy {policy}."
    seconds = [
        read_interval(summary, f"encrypted/{stage}_seconds", scale=1e3)
        for stage in SAID
    ]
    names = {"query": "query", "answer": "answer", "public key, once": "key"}
    sent = [summary[f"encrypted/{name}_bytes"] / 1e3 for name in names.values()]
    return [
        Table(title, *result_rows(summary), note=note),
        Bars(
            "Time of one query",
            "milliseconds",
            list(SAID.values()),
            {"median": seconds},
            note=f"{note} Lines: {SPREAD}.",
        ),
        Bars(
            "Bytes of one query",
            "kB",
            list(names),
            {"encrypted": [[one] * 3 for one in sent]},
            note=f"In the clear, float32: {4 * width / 1e3:.2g} kB up, "
            f"{4 * classes / 1e3:.2g} kB down.",
        ),
    ]
