"""The page for people at `/` of a provider, and what it shows as JSON at /v1/status."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.net.page.doors import page_doors

__all__ = ["page_doors"]
lazy_names(__name__)
