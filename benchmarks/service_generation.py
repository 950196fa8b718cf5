"""Text with a head that is asked over the network, token by token."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.service_own import Place, own_service
from benchmarks.service_processes import counted_port
from benchmarks.service_results import TINY, write_part
from helix_jax.generation import stitch
from helix_jax.generation.encrypted import HeadOffer, generate_encrypted
from helix_jax.models import load_model, load_tokenizer

WRITER = flags.DEFINE_string(
    "writer",
    str(Path.home() / ".cache/helix_real/smollm2-135m"),
    "model whose states are sent and whose head is served",
)
TOKENS = flags.DEFINE_integer("tokens", 40, "of each text", lower_bound=2)

PROMPTS = ("The capital of France is", "Private inference means that", "Once upon a")
EMBEDDED = "pebble-llama"


class Timed:
    """A function of a state, and the seconds that each call took."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self._function = function
        self.seconds: list[float] = []

    def __call__(self, state: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        found = self._function(state)
        self.seconds.append(time.perf_counter() - start)
        return found


def generation(place: Place) -> None:
    """Tokens a second and bytes a token."""
    name = EMBEDDED if TINY.value else WRITER.value
    model, tokenizer = load_model(name), load_tokenizer(name)
    parts = stitch(model, model, None)
    tokens = 4 if TINY.value else TOKENS.value
    table = []
    for minimise in ("time", "traffic"):
        head = {"path": f"lm_head:{name}", "minimise": minimise, "input_norm": 1e3}
        with (
            own_service(place, {"heads.words": head}, workers=1) as own,
            counted_port(own.port) as counted,
            own.connect(counted.port) as connection,
        ):
            about = connection.about()["heads"]["words"]
            offer = HeadOffer(about["vocabulary"], about["softcap"])
            ask = Timed(partial(connection.classify, "words"))
            write = partial(
                *(generate_encrypted, parts.source, None, offer, ask),
                *(tokenizer, tokenizer),
                max_new_tokens=tokens,
            )
            write(PROMPTS[0])  # compiles
            ask.seconds.clear()
            up, down, start = counted.up, counted.down, time.perf_counter()
            texts = [write(prompt) for prompt in PROMPTS]
            took, count = time.perf_counter() - start, len(ask.seconds)
            table.append(
                [
                    minimise,
                    model.spec.width,
                    offer.vocabulary,
                    count / took,
                    1e3 * float(np.median(ask.seconds)),
                    (counted.up - up) / count / 1e3,
                    (counted.down - down) / count / 1e3,
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
