r"""Text by this client's model and a provider's output head, over a network.

    python -m experiments.remote_generation --workdir=runs/remote_text \
      --url=https://127.0.0.1:8443 --token=alice.token \
      --authority=certificates/authority.pem --source=DIR_OR_ID --map=runs/tokens/map \
      --target_tokenizer=DIR_OR_ID --prompts="Once upon a time"

The provider serves the head of its model (in its file `[heads.words]`, `path =
"lm_head:MODEL"`, `policy`, `input_norm`: docs/deploy.md) and sees no text and no state;
the client sees the logits of the tokens that it asks for. --map is a map between the
two models' last token states. experiments.fit_tokens makes it in the clear, from the
weights of both models; the provider can run it and give the map away, which reveals as
much about its rows as a fit does (docs/private.md).

Cost: two cores, a head of 576 by 49,152: about a second and 5 MB per token.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from experiments.shared.about import about, short_model
from experiments.shared.options import workdir_option
from experiments.shared.service_options import ServiceOptions, choose_served
from experiments.shared.token_options import MODEL
from helix_jax.errors import RunError
from helix_jax.progress import bar, stage
from helix_jax.reports import Quantity, Samples, quantity_table
from helix_jax.runs import Report, Run, experiment, option

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.alignment import load_map
    from helix_jax.generation.stitch import native
    from helix_jax.models import load_model, load_tokenizer

QUANTITIES = {
    "tokens": Quantity("tokens", 1, ".0f"),
    "tokens_per_second": Quantity("tokens a second, end to end", 1, ".3g"),
    "spent_bits": Quantity("bits of the head that this took", 1, ",.0f"),
}


@dataclasses.dataclass(frozen=True)
class RemoteGenerationConfig(ServiceOptions):
    """Flags of the experiment."""

    workdir: str = workdir_option()
    source: str = option("", MODEL, names="model", required=True)
    map: str = option("", "folder of a map", names="path", required=True)
    target_tokenizer: str = option(
        "", "tokenizer of the provider's model", names="tokenizer", required=True
    )
    head: str = option("", "name of the provider's head; empty: its only one")
    prompts: tuple[str, ...] = option(
        (), "texts to continue", required=True, verbatim=True
    )
    max_new_tokens: int = option(32, "tokens per text, at most", least=1)


@experiment()
def compute(config: RemoteGenerationConfig, _: Run) -> Report:
    """Write, and count; see the module docstring."""
    with stage(f"loading {short_model(config.source)}"):
        source = load_model(config.source)
        names = config.source, config.target_tokenizer
        tokenizers = tuple(map(load_tokenizer, names))
    affine, _ = load_map(config.map)
    with config.connect() as provider:
        served = provider.about()
        head = choose_served("head", config.head, served["heads"], config.url)
        width = served["heads"][head]["width"]
        if np.shape(affine.bias)[-1] != width:
            raise RunError(
                f"--map goes to a space of width {np.shape(affine.bias)[-1]}, but head "
                f"{head} reads width {width}; give a map to the states of its model."
            )
        before = provider.account()["heads"][head]["bits"]
        began, written = time.perf_counter(), []
        for prompt in bar(config.prompts, "texts on ciphertexts"):
            written.append(
                provider.generate(
                    head,
                    native(source).source,
                    affine,
                    tokenizers,
                    prompt,
                    max_new_tokens=config.max_new_tokens,
                )
            )
        seconds = time.perf_counter() - began
        spent = provider.account()["heads"][head]["bits"] - before
    tokens = sum(len(one.tokens) for one in written)
    numbers = {
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "spent_bits": spent,
    }
    samples = [
        {"prompt": prompt, "text": one.text}
        for prompt, one in zip(config.prompts, written)
    ]
    said = {name: shown.told(numbers, name) for name, shown in QUANTITIES.items()}
    answer = (
        f"{said['tokens']} tokens were written, {said['tokens_per_second']} a second "
        f"end to end; the answers took {said['spent_bits']} bits of the head."
    )
    policy = f"Policy {served['heads'][head]['policy']}."
    return Report(
        {f"remote/{name}": value for name, value in numbers.items()},
        [
            quantity_table("Text over a network", numbers, QUANTITIES, note=policy),
            Samples("Texts", samples),
        ],
        about(
            f"{short_model(config.source)} -> {head} of {served['name']}",
            "",
            f"{len(written):,} prompts" if len(written) > 1 else "1 prompt",
        ),
        answer=answer,
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
