"""Text with a head that is queried over the network, token by token."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.service_flags import TINY, TOKENS, WRITER
from benchmarks.service_own import Place, own_service
from benchmarks.service_processes import counted_port
from benchmarks.service_results import write_part
from helix_jax.generation import Stitch, stitch
from helix_jax.generation.stitch import run_source
from helix_jax.models import load_model, load_tokenizer
from helix_jax.net import Connection

PROMPTS = ("The capital of France is", "Private inference means that", "Once upon a")
EMBEDDED = "pebble-llama"


def generation(place: Place) -> None:
    """Measure tokens per second and bytes per token."""
    name = EMBEDDED if TINY.value else WRITER.value
    model, tokenizer = load_model(name), load_tokenizer(name)
    parts, width = stitch(model, model, None), model.spec.width
    norm = 2 * max(largest_state(parts, tokenizer, prompt) for prompt in PROMPTS)
    tokens = 4 if TINY.value else TOKENS.value
    table = []
    for minimise in ("time", "traffic"):
        head = {"path": f"lm_head:{name}", "minimise": minimise, "input_norm": norm}
        with (
            own_service(place, {"heads.words": head}, workers=1) as own,
            counted_port(own.port) as counted,
            own.connect(counted.port) as connection,
        ):
            write = partial(
                *(connection.generate, "words", parts.source, None),
                (tokenizer, tokenizer),
                max_new_tokens=tokens,
            )
            write(PROMPTS[0])  # compiles
            up, down, start = counted.up, counted.down, time.perf_counter()
            texts = [write(prompt) for prompt in PROMPTS]
            took = time.perf_counter() - start
            count = sum(len(text.tokens) for text in texts)
            up, down = counted.up - up, counted.down - down
            seconds = [timed(connection, width) for _ in range(tokens)]
            table.append(
                [
                    minimise,
                    width,
                    model.spec.vocab_size,
                    count / took,
                    1e3 * float(np.median(seconds)),
                    up / count / 1e3,
                    down / count / 1e3,
                    own.service.peak_bytes() / 1e6,
                ]
            )
            print(*table[-1], [text.text for text in texts], flush=True)
    header = [
        "packed for",
        "width",
        "words",
        "tokens/s",
        "p50 of the head, ms",
        "up, kB a token",
        "down, kB a token",
        "service's peak, MB",
    ]
    notes = (
        f"{Path(name).name}: its states, and its head behind the service, `guarded`, "
        f"12 bits, one worker; {len(PROMPTS)} texts of {tokens} tokens one after the "
        "other, the model's own blocks included in tokens/s. Bytes on the wire; the "
        "port that counts them costs some of the time."
    )
    title = "Generation with a head behind the service"
    write_part("generation", title, header, table, notes)


def largest_state(parts: Stitch, tokenizer: Any, prompt: str) -> float:
    """The largest norm of a state of a text, in the clear."""
    tokens = jnp.asarray(tokenizer.encode(prompt))[None]
    states, _ = run_source(parts.source, None, tokens, jnp.ones(tokens.shape, bool))
    return float(jnp.linalg.norm(states[0].astype(jnp.float32), axis=1).max())


def timed(connection: Connection, width: int) -> float:
    """Seconds from one synthetic state to its logits."""
    state = np.random.default_rng(0).standard_normal(width)
    start = time.perf_counter()
    connection.classify("words", state)
    return time.perf_counter() - start
