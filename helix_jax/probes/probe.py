"""The linear classifier: its record, its logits, its artefact folder."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.artefacts import load_artefact, save_artefact
from helix_jax.errors import ArtefactError
from helix_jax.fingerprint import check_same
from helix_jax.linalg import product, wide
from helix_jax.types import Array

KIND = "probe"


@struct.dataclass
class Probe:
    """A linear classifier, logits = x @ kernel + bias.

    Attributes:
      kernel: [D, C].
      bias: [C].
    """

    kernel: Array
    bias: Array


@takes(probe=kinds.PROBE, x=kinds.ARRAY)
@wide
def predict_logits(probe: Probe, x: Array) -> Array:
    """Logits of states.

    Args:
      probe: Probe of width D with C classes.
      x: [..., D] float, states.

    Returns:
      [..., C] float32, or wider if x is.

    Raises:
      ValueError: the last axis of x is not D.
    """
    if not x.shape:
        raise ValueError("predict_logits: x needs shape [..., D], got one number.")
    checks.require_width(
        "predict_logits", "x", x.shape[-1], probe.kernel.shape[0], shape=x.shape
    )
    x = jnp.asarray(numeric.numbers("predict_logits", "x", x))
    kernel, bias = (jnp.asarray(z).astype(x.dtype) for z in (probe.kernel, probe.bias))
    return product(x, kernel) + bias


@takes(folder=kinds.PATH, probe=kinds.PROBE)
def save_probe(
    folder: str | os.PathLike,
    probe: Probe,
    *,
    classes: Sequence[str],
    fingerprints: Mapping[str, Any],
) -> Path:
    """Write a probe as an artefact folder.

    Args:
      folder: to write.
      probe: the probe.
      classes: C names, in the order of the columns.
      fingerprints: of what it was fitted on, such as {"states": ..., "split": "fit"}.

    Returns:
      The folder.

    Raises:
      ValueError: NaN or infinity, or not one name for each class.
    """
    for name, part in (("kernel", probe.kernel), ("bias", probe.bias)):
        checks.require_finite("save_probe", name, part)
    if isinstance(classes, str) or len(classes) != probe.kernel.shape[1]:
        raise ValueError(
            f"save_probe: needs {probe.kernel.shape[1]} class names, one for each "
            f"column of the probe, got {len(classes)}: {classes!r:.60}."
        )
    config = {"classes": list(classes), "fingerprints": dict(fingerprints)}
    arrays = {"kernel": np.asarray(probe.kernel), "bias": np.asarray(probe.bias)}
    return save_artefact(folder, KIND, config, arrays)


@takes(folder=kinds.PATH)
def load_probe(
    folder: str | os.PathLike, *, expect: Mapping[str, Any] | None = None
) -> tuple[Probe, dict[str, Any]]:
    """Read a probe, refusing one that was fitted on other states.

    Args:
      folder: written by `save_probe`.
      expect: fingerprints that it must have, by key; keys left out are not compared.

    Returns:
      The probe and its config, {classes, fingerprints}.

    Raises:
      ArtefactError: the folder is missing, damaged, or not a probe's.
      FingerprintError: fitted on other states; the message names both.
    """
    config, arrays = load_artefact(folder, KIND)
    try:
        probe = Probe(jnp.asarray(arrays["kernel"]), jnp.asarray(arrays["bias"]))
        record = {key: config[key] for key in ("classes", "fingerprints")}
        fits = probe.kernel.shape == (len(probe.kernel), len(record["classes"]))
    except (KeyError, TypeError) as error:
        raise ArtefactError(
            f"{folder} is damaged: it lacks {error}; train the probe again."
        ) from error
    if not fits or probe.bias.shape != probe.kernel.shape[1:]:
        raise ArtefactError(
            f"{folder} is damaged: {len(record['classes'])} classes, a kernel of shape "
            f"{probe.kernel.shape} and a bias of shape {probe.bias.shape}; train the "
            "probe again."
        )
    if expect is not None:
        check_same(
            f"the probe in {folder}",
            {key: record["fingerprints"].get(key) for key in expect},
            "what is used here",
            expect,
            remedy="Train a new probe on these states, or load the one made for them.",
        )
    return probe, record
