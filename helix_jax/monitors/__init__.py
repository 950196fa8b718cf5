"""Monitors and steering vectors of one model, carried to another by maps of states."""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.monitors.class_tokens import ClassTokens, telling_tokens
    from helix_jax.monitors.crossing import (
        RULES,
        Crossing,
        carry_monitor,
        carry_vector,
        fit_crossing,
        shuffled_crossing,
    )
    from helix_jax.monitors.directions import (
        DIRECTION_KINDS,
        Direction,
        fit_direction,
        fit_directions,
    )
    from helix_jax.monitors.judge import Judge, make_judge
    from helix_jax.monitors.measures import effect, effect_ratio, score_auroc
    from helix_jax.monitors.places import place_of
    from helix_jax.monitors.readings import (
        Passages,
        Readings,
        at_ends,
        cut_passages,
        read_edits,
    )
    from helix_jax.monitors.sparse import fit_sparse, select_sparse
    from helix_jax.monitors.steering import ablation, dosed, edited, shift_by
    from helix_jax.monitors.text_states import TextStates, read_text_states
    from helix_jax.monitors.writing import write_edited

__all__ = [
    "DIRECTION_KINDS",
    "RULES",
    "ClassTokens",
    "Crossing",
    "Direction",
    "Judge",
    "Passages",
    "Readings",
    "TextStates",
    "ablation",
    "at_ends",
    "carry_monitor",
    "carry_vector",
    "cut_passages",
    "dosed",
    "edited",
    "effect",
    "effect_ratio",
    "fit_crossing",
    "fit_direction",
    "fit_directions",
    "fit_sparse",
    "make_judge",
    "place_of",
    "read_edits",
    "read_text_states",
    "score_auroc",
    "select_sparse",
    "shift_by",
    "shuffled_crossing",
    "telling_tokens",
    "write_edited",
]
lazy_names(__name__)
