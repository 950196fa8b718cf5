"""Messages about a folder that is not a single model's folder."""

from pathlib import Path


def explain_folder(folder: Path) -> str:
    """One line about a folder without config.json: what it is, and what to do."""
    about = f"{folder} has no config.json"
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    packed = sorted(name for name in names if name.endswith(".gguf"))
    if packed:
        return (
            f"{about}: it holds GGUF weights, which the JAX engine does not read. Use "
            "--engine=torch, or convert them with transformers: AutoModelForCausalLM."
            f"from_pretrained({str(folder)!r}, gguf_file={packed[0]!r})."
            "save_pretrained(NEW), likewise the tokenizer, and name the folder NEW."
        )
    if "params.json" in names:
        return (
            f"{about} but params.json: weights in the format of the model's authors. "
            "Give the repository in transformers' format (often the same name with "
            "-hf), or convert them with transformers.models.llama."
            "convert_llama_weights_to_hf."
        )
    if "model_index.json" in names:
        return (
            f"{about} but model_index.json: a diffusion pipeline, not a language model."
        )
    if "modules.json" in names:
        return (
            f"{about} but modules.json: sentence-transformers, with the model in a "
            "subfolder, as older versions wrote it. Fetch the whole repository "
            "(hf download ID --local-dir FOLDER) and name that folder."
        )
    inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inside:
        return (
            f"{about}, but its folders {', '.join(inside[:6])} have one; name one of "
            f"them, for example {folder / inside[-1]}."
        )
    weights = sorted(name for name in names if name.endswith((".safetensors", ".bin")))
    if weights:
        return (
            f"{about} but {', '.join(weights[:3])}; fetch config.json from where the "
            "weights came from."
        )
    return f"{about}; is it a model folder? Name one with config.json and weights."


def explain_weights(folder: Path) -> str:
    """One line about a folder that has no readable weights."""
    other = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in (".h5", ".msgpack", ".gguf", ".onnx", ".pt", ".pth", ".ckpt")
        or path.suffix in (".safetensors", ".bin")
    )
    found = f", found {', '.join(other[:6])}" if other else ""
    return (
        f"{folder} has no weights: expected model.safetensors, pytorch_model.bin, or "
        f"an index.json with shards{found}. Fetch them, or write them again with "
        "save_pretrained of transformers."
    )
