r"""The encrypted linear layer and fit, and other libraries in the same run.

    python -m benchmarks.private [--openfhe_python=PATH] [--tenseal_python=PATH]

The peers run in their own interpreters: OpenFHE's wheels need Python 3.10 or 3.12, and
TenSEAL brings its own SEAL. A peer whose interpreter is not named is left out, and the
table says so. Pyfhel is the one in this environment.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from helix_jax.runs.flags import choices_flag
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    import jax

    from benchmarks.timing import run_child, write_results
    from helix_jax.alignment import accumulate
    from helix_jax.private import Client, Provider, key_proof
    from helix_jax.private.accounts import PublicKey
    from helix_jax.private.comparisons import moment_errors
    from helix_jax.private.internals import secret_key
    from helix_jax.private.planted import planted_layer
    from helix_jax.private.rehearsal import Conversation, rehearse_fit

OPENFHE = flags.DEFINE_string("openfhe_python", "", "interpreter that has openfhe")
TENSEAL = flags.DEFINE_string("tenseal_python", "", "interpreter that has tenseal")
QUERIES = flags.DEFINE_integer("queries", 100, "queries per layer", lower_bound=1)
PEER_REPEATS = flags.DEFINE_integer("peer_repeats", 5, "runs per peer", lower_bound=1)
ROWS = flags.DEFINE_integer("rows", 4000, "rows of the fit", lower_bound=1)
FIT_REPEATS = flags.DEFINE_integer("fit_repeats", 3, "runs of the fit", lower_bound=1)
PARTS = ("layer", "fit", "growth", "keys")
ONLY = choices_flag("only", PARTS, "parts to run", PARTS)
TINY = flags.DEFINE_bool("tiny", False, "small sizes")

LAYERS = (
    (768, 5),
    (768, 14),
    (4096, 14),
    (768, 77),
    (768, 1000),
    (128, 2048),
    (144, 4096),
)
PROFILES = ("guarded", "open", "swift", "compact")


def layer_numbers(width: int, classes: int, profile: str, queries: int) -> dict:
    """Milliseconds, bytes and error of one layer."""
    classifier, x = planted_layer(width=width, classes=classes, queries=queries)
    provider = Provider(
        classifier.kernel,
        classifier.bias,
        profile=profile,
        policy="logits",  # exact, as those of the peers
        input_norm=float(np.linalg.norm(x, axis=1).max()),
    )
    conversation = Conversation(Client(profile), provider)
    logits = conversation.ask_all(x)
    plain = x @ classifier.kernel + classifier.bias
    numbers = {
        name: 1e3 * float(np.median(times))
        for name, times in conversation.seconds.items()
    }
    return numbers | {
        "query_bytes": conversation.query_bytes,
        "answer_bytes": conversation.answer_bytes,
        "key_bytes": conversation.key_bytes,
        "error": float(np.abs(logits - plain).max()),
        "agreement": float((logits.argmax(1) == plain.argmax(1)).mean()),
    }


def peer_numbers(library: str, task: str, *sizes: int) -> dict | None:
    """A peer's numbers from its own process; None if it is not installed."""
    interpreters = {
        "openfhe": OPENFHE.value,
        "tenseal": TENSEAL.value,
        "pyfhel": sys.executable,
    }
    if not interpreters[library]:
        return None
    script = Path(__file__).with_name("private_peers.py")
    command = [interpreters[library], str(script), library, task, *map(str, sizes)]
    # At this size threads slow OpenFHE down.
    return run_child(command, {"OMP_NUM_THREADS": "1"})


def layers() -> None:
    """Measure layers, one query at a time."""
    table, queries = [], 5 if TINY.value else QUERIES.value
    for width, classes in ((64, 3),) if TINY.value else LAYERS:
        few = queries if classes < 500 else max(5, queries // 5)
        for profile in PROFILES:
            own = layer_numbers(width, classes, profile, few)
            online = sum(
                own[n] for n in ("client_encrypt", "provider", "client_decrypt")
            )
            if profile == "guarded":
                guarded = own["provider"], own["provider"] + own["prepare"]
            table.append(
                [
                    width,
                    classes,
                    profile,
                    own["client_encrypt"],
                    own["provider"],
                    own["prepare"] if profile == "guarded" else None,
                    own["client_decrypt"],
                    online,
                    own["query_bytes"] / 1e3,
                    own["answer_bytes"] / 1e3,
                    own["error"],
                    None,
                    None,
                ]
            )
            print(*table[-1], flush=True)
        repeats = PEER_REPEATS.value if classes < 500 else 2
        for library in ("openfhe", "tenseal", "pyfhel"):
            if classes > 100 and library != "openfhe":
                continue  # would take minutes: proportional to the classes
            peer = peer_numbers(library, "layer", width, classes, repeats)
            if peer is None:
                continue
            stages = [1e3 * peer[name] for name in ("encrypt", "provider", "decrypt")]
            table.append(
                [
                    width,
                    classes,
                    library,
                    stages[0],
                    stages[1],
                    None,
                    stages[2],
                    sum(stages),
                    None,
                    None,
                    peer["error"],
                    stages[1] / guarded[0],
                    stages[1] / guarded[1],
                ]
            )
            print(*table[-1], flush=True)
    header = [
        "d",
        "k",
        "",
        "encrypt, ms",
        "provider, ms",
        "prepared, ms",
        "decrypt, ms",
        "online total, ms",
        "up, kB",
        "down, kB",
        "largest error",
        "provider / guarded",
        "provider / guarded, prepared counted",
    ]
    notes = (
        f"Medians of {queries} queries (a fifth for 1,000 classes and more), logits of "
        "order 10, one after the other. Prepared: the mask of `guarded`, made ahead. "
        "The peers' answers leave the provider's weights open; the last columns divide "
        "their provider's time by ours of `guarded`. OpenFHE runs with one thread, its "
        "best at this size. " + _missing()
    )
    write("private_layer", "Encrypted linear layer", header, table, notes)


def fits() -> None:
    """Measure the cross-covariance of --rows rows."""
    rows, width = (200, 32) if TINY.value else (ROWS.value, 768)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, width)) + 1
    planted = generator.standard_normal((width, width)) / np.sqrt(width)
    y = x @ planted + generator.standard_normal((rows, width))
    with jax.enable_x64(True):
        plain = accumulate([(x, y)])
    table, guarded = [], None
    for profile in ("guarded", "open", "compact"):
        runs = []
        for _ in range(1 + FIT_REPEATS.value):  # the first compiles
            fit = rehearse_fit(x, y, profile=profile)
            runs.append(fit.costs | moment_errors(fit.moments, plain))
        own = {name: np.median([run[name] for run in runs[1:]]) for name in runs[0]}
        guarded = guarded or own["provider_seconds"]
        table.append(
            [
                profile,
                own["client_seconds"],
                own["provider_seconds"],
                own["upload_bytes"] / 1e6,
                own["download_bytes"] / 1e6,
                own["relative_error"],
                None,
            ]
        )
        print(*table[-1], flush=True)
    columns = 2 if TINY.value else 4
    for library in ("openfhe", "tenseal"):
        peer = peer_numbers(library, "covariance", rows, width, width, columns)
        if peer is not None:
            table.append(
                [
                    library,
                    peer["encrypt"],
                    peer["provider"],
                    None,
                    None,
                    None,
                    peer["provider"] / guarded,
                ]
            )
            print(*table[-1], flush=True)
    header = [
        "",
        "client, s",
        "provider, s",
        "up, MB",
        "down, MB",
        "relative error",
        "provider / guarded",
    ]
    notes = (
        f"{rows:,} rows, {width} by {width} dimensions. Ours: median of "
        f"{FIT_REPEATS.value} whole fits, keys, masks and decryption included. Peers: "
        f"encryption of all rows, {columns} of the {width} target columns run and the "
        "rest extrapolated in proportion. " + _missing()
    )
    write("private_fit", "Encrypted cross-covariance", header, table, notes)


def growth() -> None:
    """Measure how time and bytes grow with d, k and n."""
    table = []
    sizes = (
        [(64, 4), (64, 8)]
        if TINY.value
        else [
            (256, 16),
            (1024, 16),
            (4096, 16),
            (16_384, 16),
            (1024, 256),
            (1024, 4096),
        ]
    )
    for width, classes in sizes:
        own = layer_numbers(width, classes, "guarded", 5 if TINY.value else 11)
        online = sum(own[n] for n in ("client_encrypt", "provider", "client_decrypt"))
        table.append(
            [
                "query",
                width,
                classes,
                None,
                online / 1e3,
                own["prepare"] / 1e3,
                own["query_bytes"] / 1e6,
                own["answer_bytes"] / 1e6,
                own["error"],
            ]
        )
        print(*table[-1], flush=True)
    shapes = (
        [(200, 16, 16)]
        if TINY.value
        else [
            (2000, 256, 256),
            (8000, 256, 256),
            (32_000, 256, 256),
            (8000, 1024, 256),
            (8000, 256, 1024),
        ]
    )
    generator = np.random.default_rng(0)
    for rows, dx, dy in shapes:
        x, y = (
            generator.standard_normal((rows, dx)),
            generator.standard_normal((rows, dy)),
        )
        with jax.enable_x64(True):
            plain = accumulate([(x, y)])
        few = slice(2 * dx + 700)
        rehearse_fit(x[few], y[few], share=np.inf)  # compiles
        fit = rehearse_fit(x, y)
        own = fit.costs
        table.append(
            [
                "fit",
                dx,
                dy,
                rows,
                own["provider_seconds"],
                own["client_seconds"],
                own["upload_bytes"] / 1e6,
                own["download_bytes"] / 1e6,
                moment_errors(fit.moments, plain)["relative_error"],
            ]
        )
        print(*table[-1], flush=True)
    header = [
        "",
        "d, or source",
        "k, or target",
        "rows",
        "online total, or provider, s",
        "prepared, or client, s",
        "up, MB",
        "down, MB",
        "error",
    ]
    notes = (
        "Profile `guarded`. Rows of a query: median online time and the mask made "
        "ahead, largest error of logits of order 10. Rows of a fit: one run after one "
        "that compiles, relative error of unrelated Gaussian rows."
    )
    write("private_growth", "Growth of the encrypted layer", header, table, notes)


def keys() -> None:
    """Measure the processor time of proofs of public keys."""
    table, repeats = [], 3 if TINY.value else 50
    for profile in ("guarded", "wide"):
        client, times = Client(profile), []
        bundle = client.public_bundle()
        key = PublicKey.from_bytes(bundle, client.profile)
        given = key.public, secret_key(client).residues, client.profile
        for _ in range(repeats):
            began = time.process_time()
            key_proof.prove(*given, owner=key.verifying)
            made = time.process_time()
            PublicKey.from_bytes(bundle, client.profile)
            times.append((made - began, time.process_time() - made))
        made, checked = 1e3 * np.array(times).T
        sizes = len(bundle) - len(key.to_bytes()), len(bundle)
        spent = np.median(made), made.mean(), np.median(checked)
        table.append([profile, *spent, *(size / 1e3 for size in sizes)])
        print(*table[-1], flush=True)
    header = [
        "",
        "made, ms",
        "mean of made, ms",
        "read and checked, ms",
        "proof, kB",
        "bundle, kB",
    ]
    notes = (
        f"Processor time of {repeats} proofs, medians where nothing else is said: a "
        "proof takes 1.7 tries on average. Once a key."
    )
    write("private_keys", "Proofs of public keys", header, table, notes)


def write(name: str, title: str, header: list, table: list, notes: str) -> None:
    """Keep and print a table."""
    command = f"private --only={name.removeprefix('private_')}"
    print(write_results(name, title, header, table, notes, not TINY.value, command))


@functools.cache
def _missing() -> str:
    values = {"OpenFHE": OPENFHE.value, "TenSEAL": TENSEAL.value}
    names = [name for name, value in values.items() if not value]
    return f"Not installed here: {', '.join(names)}." if names else ""


def main(_: list[str]) -> None:
    """Measure and write the tables."""
    parts = dict(zip(PARTS, (layers, fits, growth, keys)))
    for name in ONLY.value:
        parts[name]()


if __name__ == "__main__":
    start_main(main)
