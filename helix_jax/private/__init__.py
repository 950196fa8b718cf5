"""The encrypted layer: two parties apply a linear map and keep data and weights secret.

A `Client` holds a CKKS key and encrypts; a `Provider` holds weights and evaluates on
ciphertexts; they exchange bytes. Only `Client` needs Pyfhel.
"""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.private.accountant import Privacy
    from helix_jax.private.admission import Admission
    from helix_jax.private.client import Client
    from helix_jax.private.fit_client import FitClient
    from helix_jax.private.fit_provider import FitProvider
    from helix_jax.private.labels.client import LabelClient
    from helix_jax.private.layer import Layer, shared_scales
    from helix_jax.private.ledger import Ledger
    from helix_jax.private.packing import Plan, plan_layer
    from helix_jax.private.prepared_rows import PreparedRows
    from helix_jax.private.prepared_rows_passes import prepare_rows
    from helix_jax.private.profiles import PROFILES, Profile
    from helix_jax.private.provider import Provider
    from helix_jax.private.summing import sum_answers
    from helix_jax.private.unit_rows import unit_rows

__all__ = [
    "PROFILES",
    "Admission",
    "Client",
    "FitClient",
    "FitProvider",
    "LabelClient",
    "Layer",
    "Ledger",
    "Plan",
    "PreparedRows",
    "Privacy",
    "Profile",
    "Provider",
    "plan_layer",
    "prepare_rows",
    "shared_scales",
    "sum_answers",
    "unit_rows",
]
lazy_names(__name__)
