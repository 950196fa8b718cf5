"""The supported architectures, by Hugging Face `model_type`."""

from helix_jax.errors import CheckpointError
from helix_jax.models.families import (
    apertus,
    arcee,
    bert,
    biogpt,
    bloom,
    cohere,
    distilbert,
    electra,
    ernie4_5,
    eurobert,
    exaone4,
    falcon,
    gemma,
    glm,
    gpt2,
    gpt_bigcode,
    gpt_neo,
    gpt_neox,
    gptj,
    granite,
    helium,
    llama,
    mistral,
    modernbert,
    mpnet,
    mpt,
    nemotron,
    nomic_bert,
    olmo,
    openai_gpt,
    opt,
    persimmon,
    phi,
    phi3,
    qwen2,
    qwen3,
    roberta,
    seed_oss,
    smollm3,
    stablelm,
    starcoder2,
    t5,
    xglm,
)
from helix_jax.models.families.common import Family

FAMILIES = {
    family.name: family
    for family in (
        llama.LLAMA,
        llama.INTERNLM3,
        llama.IQUESTCODER,
        mistral.MISTRAL,
        mistral.MINISTRAL,
        mistral.MINISTRAL3,
        qwen2.FAMILY,
        qwen3.FAMILY,
        gemma.GEMMA,
        gemma.GEMMA2,
        gemma.GEMMA3,
        gemma.VAULTGEMMA,
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
        bloom.FAMILY,
        mpt.FAMILY,
        persimmon.FAMILY,
        biogpt.FAMILY,
        xglm.FAMILY,
        stablelm.FAMILY,
        nemotron.FAMILY,
        cohere.COHERE,
        cohere.COHERE2,
        apertus.FAMILY,
        olmo.OLMO,
        olmo.OLMO2,
        olmo.OLMO3,
        granite.GRANITE,
        granite.HYPERCLOVAX,
        glm.GLM,
        glm.GLM4,
        ernie4_5.FAMILY,
        helium.FAMILY,
        seed_oss.FAMILY,
        arcee.ARCEE,
        arcee.JAIS2,
        smollm3.SMOLLM3,
        smollm3.CWM,
        exaone4.FAMILY,
        starcoder2.FAMILY,
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
