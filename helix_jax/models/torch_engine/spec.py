"""The sizes of a torch model, and the class that computes it, read from its config."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.config import model_code
from helix_jax.models.config_file import check_architectures, read_raw_config
from helix_jax.models.torch_engine.library import refusing, torch_library
from helix_jax.transformers_names import transformers_names

UNBOUNDED = 2**31 - 1  # tokens of a model without a table of positions
CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclasses.dataclass(frozen=True)
class TorchSpec:
    """The sizes of a model that torch runs, as `ModelSpec` names them.

    Attributes:
      family: Hugging Face `model_type`, of the text part.
      vocab_size, width, num_layers: V, D and L.
      max_tokens: context length in tokens.
      block_parameters: parameters without the embedding; a token costs twice as many
        operations.
    """

    family: str
    vocab_size: int
    width: int
    num_layers: int
    max_tokens: int
    block_parameters: int


def read_torch_config(folder: Path) -> Any:
    """The transformers config of a folder, or of the GGUF file in it.

    Raises:
      CheckpointError: no config, or a model type or class that transformers does not
        have (a model's own code is never run).
    """
    AutoConfig, CONFIG_MAPPING = transformers_names("AutoConfig", "CONFIG_MAPPING")
    packed = packed_file(folder)
    if packed is not None:
        with refusing(f"read {folder / packed}"):
            return AutoConfig.from_pretrained(folder, gguf_file=packed)
    raw = read_raw_config(folder)
    kind = raw["model_type"]
    if code := model_code(raw):
        raise CheckpointError(
            f"{folder}: the model needs its authors' code "
            f"({', '.join(sorted(code))}), which is never run here. If transformers' "
            "own class computes the same, remove auto_map from config.json; otherwise "
            "use a model without such code."
        )
    if kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{folder}: model_type {kind!r} is not one of transformers' own. Update "
            "transformers if the model is newer; otherwise use one whose weights are "
            "in a format that transformers has."
        )
    check_architectures(raw, folder / "config.json")
    with refusing(f"read {folder / 'config.json'}"):
        return CONFIG_MAPPING[kind].from_dict(raw)


def packed_file(folder: Path) -> str | None:
    """The GGUF file of a folder that has no config.json, or None.

    Raises:
      CheckpointError: several, or the package that reads them is not installed.
    """
    if (folder / "config.json").is_file():
        return None
    packed = sorted(path.name for path in folder.glob("*.gguf"))
    if not packed:
        return None
    if len(packed) > 1:
        raise CheckpointError(
            f"{folder} holds several GGUF files ({', '.join(packed[:6])}); put one "
            "in a folder of its own and name that folder."
        )
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(
            f"{folder / packed[0]} is GGUF, which the torch engine reads with a "
            "package that is not installed: pip install gguf."
        )
    return packed[0]


def network_class(config: Any) -> Any:
    """The class of transformers that gives a model's hidden states.

    For an encoder-decoder that has a class for its encoder, the encoder alone.
    """
    AutoModel, encoders = transformers_names(
        "AutoModel", "MODEL_FOR_TEXT_ENCODING_MAPPING"
    )
    encoder = encoders.get(type(config), None)
    if encoder is None or not encoder.__name__.endswith("EncoderModel"):
        return AutoModel
    config.is_encoder_decoder = False  # these classes expect this, or set it
    return encoder


def make_network(config: Any) -> Any:
    """A network with the initial parameters of its class."""
    kind = network_class(config)
    return kind(config) if hasattr(kind, "config_class") else kind.from_config(config)


def text_part(network: Any) -> Any:
    """The module of a network that reads text: an encoder, or a wrapper's part."""
    config = network.config
    if getattr(config, "is_encoder_decoder", False):
        return network.get_encoder()
    wrapper = config.get_text_config() is not config
    return network.get_decoder().base_model if wrapper else network


def read_torch_spec(folder: Path) -> TorchSpec:
    """The sizes of a model folder, from a network without memory for its weights.

    Raises:
      CheckpointError: as `read_torch_config`, or sizes that cannot be found.
    """
    torch = torch_library(str(folder))
    config = read_torch_config(folder)
    with refusing(f"make the model of {folder}"), torch.device("meta"):
        network = text_part(make_network(config))
    return spec_of(network, folder)


def spec_of(network: Any, folder: Path) -> TorchSpec:
    """The sizes of the text part of a network."""
    try:
        config = network.config.get_text_config()
        embedding = network.get_input_embeddings()
    except (AttributeError, NotImplementedError) as error:
        raise CheckpointError(
            f"{folder}: its {type(network).__name__} has no token embedding that "
            "transformers finds; the torch engine runs models of text."
        ) from error
    read = {
        "width": getattr(config, "hidden_size", None),
        "num_layers": getattr(config, "num_hidden_layers", None),
        "vocab_size": getattr(embedding, "num_embeddings", None),
    }
    sizes = {name: size for name, size in read.items() if isinstance(size, int)}
    if unknown := [name for name in read if name not in sizes]:
        raise CheckpointError(
            f"{folder}: the torch engine does not find {', '.join(unknown)} of "
            f"{config.model_type}; it runs models of text with blocks one after "
            "another."
        )
    every = sum(parameter.numel() for parameter in network.parameters())
    return TorchSpec(
        config.model_type,
        **sizes,
        max_tokens=_context(network, config),
        block_parameters=every - embedding.weight.numel(),
    )


def _context(network: Any, config: Any) -> int:
    """The longest text in tokens, not counting padding rows of the position table."""
    named = [getattr(config, name, None) for name in CONTEXTS]
    limits = [size for size in named if isinstance(size, int) and size > 0][:1]
    for name, module in network.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            limits.append(module.num_embeddings - padding - 1)
    return min(limits, default=UNBOUNDED)
