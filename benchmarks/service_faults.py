r"""A provider's service that is killed repeatedly and sent malformed requests.

    python -m benchmarks.service_faults --kills=50 --requests=100000

Kills: two clients fit and classify continuously, while service and workers are killed
by SIGKILL at random points and restarted. Every fit and answer must be right; every
query must be charged once, with at most one query per kill charged but not answered;
and every fit's means and results must be charged once. Requests: four connections send
messages with some bytes changed, while the memory of every process is recorded. A
failure, a lost worker or a reply other than the constant ones ends the run.

Cost: about 20 s per kill and 5 ms per request on two cores.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import flags

from helix_jax.progress import bar
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.service_killed import ROWS, WIDTH, Killed
    from benchmarks.timing import write_results
    from helix_jax.net.refusals import CODES
    from helix_jax.private import Client

KILLS = flags.DEFINE_integer("kills", 50, "kills of the service", lower_bound=0)
REQUESTS = flags.DEFINE_integer("requests", 100_000, "changed messages", lower_bound=0)
SEED = flags.DEFINE_integer("seed", 0, "seed of kills and changes", lower_bound=0)
TINY = flags.DEFINE_bool("tiny", False, "one kill and 200 requests")

QUERIES, CONNECTIONS, POINTS = 3, 4, 10
ANSWERS = "/v1/heads/planted/answers"


def kill_again_and_again(service: Killed, kills: int, chance: random.Random) -> dict:
    """What the clients and the ledger hold after this many kills.

    Raises:
      SystemExit: a wrong map, a wrong answer or a wrong charge.
    """
    over, fits, answers = threading.Event(), [], []
    plain = service.y[:QUERIES] @ service.kernel
    x, y = (rows - rows.mean(axis=0) for rows in (service.x, service.y))
    clear = x.T @ y / ROWS

    def repeat(work: Callable) -> None:
        with service.connect() as provider:
            while not over.is_set():
                work(provider)

    def fit(provider) -> None:
        found = provider.fit("many", service.x)
        error = np.abs(np.asarray(found.moments.cov_xy) - clear).max()
        fits.append(error / float(found.noise.max()))

    def ask(provider) -> None:
        found = provider.classify("planted", service.y[:QUERIES])
        answers.append(np.abs(found - plain).max())

    with ThreadPoolExecutor(2) as threads:
        work = [threads.submit(repeat, one) for one in (fit, ask)]
        try:
            for _ in bar(range(kills), "kills"):
                time.sleep(chance.uniform(0.0, 4.0))
                service.kill()
                service.start()
        finally:
            over.set()
        for one in work:
            one.result()
    references = service.references()
    of_fits = sum(one[16:] in (b"mean", b"results") for one in references)
    queries = len(references) - of_fits
    lost = queries - len(answers)
    # Four uniform numbers, of a standard deviation of 2^-11 of the largest result.
    norms = np.linalg.norm(service.y, axis=1), np.linalg.norm(service.kernel, axis=0)
    noise = 2 * 3**0.5 * 2 * norms[0].max() * norms[1].max() / 2**11
    if max(fits) > 6 or max(answers) > noise:
        raise SystemExit(f"wrong: {max(fits)} sigma, {max(answers)} of a result.")
    if of_fits != 2 * len(fits) or not 0 <= lost <= kills:
        raise SystemExit(f"{of_fits} charges of {len(fits)} fits, {lost} more queries.")
    return {"fits": len(fits), "answers": len(answers), "lost": lost}


def send_changed(service: Killed, count: int, seed: int) -> tuple[Counter, list]:
    """Count replies by code, and record the memory of each process at some points.

    Raises:
      SystemExit: a failure, a reply with more than its code, or a lost worker.
    """
    client, fresh = Client(), Client()
    requests = {
        "/v1/keys/" + fresh.key.hex(): ("PUT", fresh.public_bundle()),
        ANSWERS: ("POST", b""),
    }
    plain = http.client.HTTPConnection("127.0.0.1", service.port)
    plain.request("PUT", f"/v1/keys/{client.key.hex()}", client.public_bundle())
    plain.getresponse().read()
    plain.request("GET", "/v1/heads/planted")
    layer = client.read_layer(plain.getresponse().read())
    plain.close()
    requests[ANSWERS] = "POST", client.encrypt(layer, service.y[:1])
    told = {
        json.dumps({"error": name, "message": code.message}, separators=(",", ":"))
        for name, code in CODES.items()
        if name != "failed"
    }

    def send(part: int, number: int) -> Counter:
        generator = np.random.default_rng([seed, part])
        http_to = http.client.HTTPConnection("127.0.0.1", service.port)
        found = Counter()
        for _ in range(number):
            # A bundle is 174 kB and slow to check: only one message in twenty.
            path = [*requests][generator.random() > 0.05]
            method, body = requests[path]
            changed = bytearray(body)
            for _ in range(generator.integers(1, 5)):
                last = 84 if generator.random() < 0.5 else len(body)
                changed[generator.integers(last)] ^= 1 << generator.integers(8)
            if generator.random() < 0.2:
                del changed[generator.integers(len(body)) :]
            if bytes(changed) == body:
                continue
            http_to.request(method, path, bytes(changed))
            reply = http_to.getresponse()
            text = reply.read().decode()
            if text not in told:
                raise SystemExit(f"{path}: {reply.status} {text[:200]!r}.")
            found[json.loads(text)["error"]] += 1
        http_to.close()
        return found

    processes, curve = service.family, [service.resident_megabytes()]
    replies, share = Counter(), -(-count // (POINTS * CONNECTIONS))
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for point in bar(range(POINTS), "points"):
            parts = range(point * CONNECTIONS, (point + 1) * CONNECTIONS)
            for one in threads.map(lambda part: send(part, share), parts):
                replies += one
            curve.append(service.resident_megabytes())
    if service.family != processes:
        raise SystemExit("a worker was lost.")
    return replies, curve


def main(_: list[str]) -> None:
    """Kill, send, and write the table."""
    kills, count = (1, 200) if TINY.value else (KILLS.value, REQUESTS.value)
    with tempfile.TemporaryDirectory() as folder:
        service = Killed(Path(folder), np.random.default_rng(SEED.value))
        try:
            found = kill_again_and_again(service, kills, random.Random(SEED.value))
            replies, curve = send_changed(service, count, SEED.value)
        finally:
            with contextlib.suppress(ProcessLookupError):
                service.kill()
    memory = [" + ".join(f"{one:.0f}" for one in point) for point in curve]
    table = [
        ["kill -9 of service and workers", kills],
        ["maps meanwhile, all right", found["fits"]],
        ["answers meanwhile, all right", found["answers"]],
        ["queries charged whose answer was lost", found["lost"]],
        ["fits charged twice, rows lost", 0],
        ["changed requests", sum(replies.values())],
        *([f"of these {code}", number] for code, number in replies.most_common()),
        ["failures, lost workers, replies that say more", 0],
        ["MB of service + worker, before", memory[0]],
        ["after a tenth of the requests", memory[1]],
        ["after all", memory[-1]],
    ]
    notes = (
        f"Two clients fit ({ROWS} x {WIDTH}, eight messages) and classify while "
        "service and worker are killed at random points; then changed keys and queries "
        f"over {CONNECTIONS} connections, seed {SEED.value}. A wrong map, answer, "
        "charge or reply would have ended the run."
    )
    title = "A service that is killed, and sent malformed requests"
    header = ["what", "found"]
    print(write_results("service_faults", title, header, table, notes, not TINY.value))


if __name__ == "__main__":
    start_main(main)
