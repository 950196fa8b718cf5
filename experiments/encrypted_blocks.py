"""What `encrypted` shows: time, bytes, error, agreement."""

from experiments.conversation import STAGES
from helix_jax.reports import Bars, Block, Table, format_interval, read_interval

SAID = dict(zip(STAGES, ("masks, ahead", "client encrypts", "provider",
                         "client decrypts")))  # fmt: skip


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table: time, bytes, error, agreement."""
    names = {
        "online_seconds": "client and provider together, ms",
        **{f"{stage}_seconds": f"{said}, ms" for stage, said in SAID.items()},
        "query_bytes": "query, kB",
        "answer_bytes": "answer, kB",
        "key_bytes": "public key, sent once, kB",
        "argmax_agreement": "same answer as in the clear, %",
        "accuracy": "accuracy under encryption, %",
        "plain_accuracy": "accuracy in the clear, %",
    }
    scales = {"seconds": 1e3, "bytes": 1e-3}
    rows: list[list[object]] = [
        [said, format_interval(summary, f"encrypted/{name}",
                               scale=scales.get(name.split("_")[-1], 100))]
        for name, said in names.items() if f"encrypted/{name}" in summary
    ]  # fmt: skip
    errors = {
        "max_error": "largest error of a logit",
        "stated_error": "its stated bound",
        "largest_logit": "largest logit",
        "max_energy_error": "largest error of the energy score",
    }
    rows += [
        [said, f"{summary[f'encrypted/{name}']:.2g}"]
        for name, said in errors.items() if f"encrypted/{name}" in summary
    ]  # fmt: skip
    return ["measure", "value [95%]"], rows


def result_blocks(summary: dict[str, float], profile: str, policy: str) -> list[Block]:
    """The table, the time of each stage, and the bytes of a query both ways."""
    width, classes = (summary[f"encrypted/{name}"] for name in ("width", "classes"))
    title = f"Encrypted layer, width {width}, {classes} classes"
    note = (
        f"Profile {profile}, policy {policy}, "
        f"{summary['encrypted/queries']} queries. Times are medians with the middle "
        "95% of the queries; the interval of accuracy is a bootstrap over documents."
    )
    seconds = [
        read_interval(summary, f"encrypted/{stage}_seconds", scale=1e3)
        for stage in SAID
    ]
    names = {"query": "query", "answer": "answer", "public key, once": "key"}
    sent = [summary[f"encrypted/{name}_bytes"] / 1e3 for name in names.values()]
    return [
        Table(title, *result_rows(summary), note=note),
        Bars("Time of one query", "milliseconds", list(SAID.values()),
             {"median": seconds}, note=note),
        Bars(
            "Bytes of one query", "kB", list(names),
            {"encrypted": [[one] * 3 for one in sent]},
            note=f"In the clear, float32: {4 * width / 1e3:.2g} kB up, "
            f"{4 * classes / 1e3:.2g} kB down.",
        ),
    ]  # fmt: skip
