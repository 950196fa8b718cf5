"""The supported architectures, by Hugging Face `model_type`."""

from helix_jax.errors import CheckpointError
from helix_jax.models.families import (
    apertus,
    bert,
    biogpt,
    cohere,
    distilbert,
    electra,
    eurobert,
    falcon,
    gemma,
    gpt2,
    gpt_bigcode,
    gpt_neo,
    gpt_neox,
    gptj,
    llama,
    mistral,
    modernbert,
    mpnet,
    nemotron,
    nomic_bert,
    olmo2,
    openai_gpt,
    opt,
    persimmon,
    phi,
    phi3,
    qwen2,
    qwen3,
    roberta,
    stablelm,
    t5,
)
from helix_jax.models.families.common import Family

FAMILIES = {
    family.name: family
    for family in (
        llama.FAMILY,
        mistral.FAMILY,
        qwen2.FAMILY,
        qwen3.FAMILY,
        gemma.GEMMA2,
        gemma.GEMMA3,
        phi.FAMILY,
        phi3.FAMILY,
        gpt2.FAMILY,
        gpt_neo.FAMILY,
        gpt_neox.FAMILY,
        gptj.GPTJ,
        gptj.CODEGEN,
        gpt_bigcode.FAMILY,
        openai_gpt.FAMILY,
        falcon.FAMILY,
        persimmon.FAMILY,
        biogpt.FAMILY,
        olmo2.FAMILY,
        stablelm.FAMILY,
        nemotron.FAMILY,
        cohere.COHERE,
        cohere.COHERE2,
        apertus.FAMILY,
        opt.FAMILY,
        bert.BERT,
        bert.ERNIE,
        bert.MEGATRON,
        *roberta.FAMILIES,
        distilbert.FAMILY,
        electra.FAMILY,
        eurobert.FAMILY,
        modernbert.FAMILY,
        mpnet.FAMILY,
        nomic_bert.FAMILY,
        t5.T5,
        t5.MT5,
    )
}


def family_of(model_type: str) -> Family:
    """The family of a config's `model_type`.

    Raises:
      CheckpointError: it is not supported; names those that are.
    """
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"model_type {model_type!r} is not supported by the engine jax; supported "
            f"are {', '.join(sorted(FAMILIES))}. The engine torch runs others "
            "(--engine=torch)."
        )
    return FAMILIES[model_type]
