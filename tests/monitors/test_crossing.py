"""Directions and what maps carry of them, where the truth is planted."""

import jax
import numpy as np
import pytest

from helix_jax.alignment import shuffled_moments
from helix_jax.errors import FingerprintError
from helix_jax.monitors import (
    DIRECTION_KINDS,
    RULES,
    carry_monitor,
    carry_vector,
    fit_crossing,
    fit_direction,
    fit_directions,
    score_auroc,
    shuffled_crossing,
)
from helix_jax.monitors.arms import CARRIED, Origin, carried_vectors
from helix_jax.monitors.geometry import GEOMETRY, measure_geometry
from helix_jax.monitors.steering import cosine
from helix_jax.similarity.predictivity import swapped

from .conftest import SOURCE, TARGET


@pytest.fixture(scope="module")
def found(planted):
    rows = {"fit": slice(0, 600), "select": slice(600, 800)}
    labels = {split: planted.labels[part] for split, part in rows.items()}
    return tuple(
        fit_directions({split: z[part] for split, part in rows.items()}, labels, place)
        for z, place in ((planted.x, SOURCE), (planted.y, TARGET))
    )


@pytest.fixture(scope="module")
def crossing(planted):
    return fit_crossing(planted.moments(), SOURCE, TARGET)


@pytest.fixture(scope="module")
def shuffled(planted, crossing):
    moments = shuffled_moments(planted.x, planted.y, key=jax.random.key(0))
    return shuffled_crossing(crossing, moments)


def test_a_reversed_crossing_keeps_each_map_with_its_place_and_penalty(
    planted, crossing
):
    crossing = crossing._replace(penalties=(1e-3, 10.0))
    back = crossing.reversed()
    assert (back.source, back.target) == (TARGET, SOURCE)
    assert back.reversed() == crossing
    moments = shuffled_moments(planted.x, planted.y, key=jax.random.key(0))
    wanted = shuffled_crossing(crossing, moments).reversed()
    found = shuffled_crossing(back, swapped(moments))
    for name in ("forward", "backward"):
        kernels = (getattr(one, name).kernel for one in (found, wanted))
        np.testing.assert_allclose(*kernels, atol=1e-9)


def auroc(planted, direction, z):
    test = slice(800, 1000)
    return score_auroc(
        direction.score(z[test]), planted.labels[test], np.arange(200), resamples=50
    ).value


@pytest.mark.parametrize("kind", DIRECTION_KINDS)
@pytest.mark.slow
def test_a_direction_tells_the_class_and_lies_where_it_was_planted(
    planted, found, kind
):
    own = found[0][kind]
    assert auroc(planted, own, planted.x) > 0.88
    assert abs(own.vector[2]) > 0.9 * np.linalg.norm(own.vector)
    right = (own.score(planted.x) > 0) == planted.labels
    assert right.mean() > 0.8


def test_the_difference_of_means_is_that(planted, found):
    x, labels = planted.x[:600], planted.labels[:600]
    wanted = x[labels == 1].mean(0) - x[labels == 0].mean(0)
    np.testing.assert_allclose(found[0]["mean"].vector, wanted, atol=1e-12)


@pytest.mark.parametrize("kind", DIRECTION_KINDS)
def test_a_carried_monitor_reads_the_target_as_the_source_is_read(
    planted, found, crossing, kind
):
    own = found[0][kind]
    carried = carry_monitor(own, crossing)
    np.testing.assert_allclose(
        carried.score(planted.y), own.score(planted.x), atol=1e-3
    )
    assert carried.place == TARGET


def test_the_monitor_of_shuffled_pairs_reads_nothing(planted, found, shuffled):
    carried = carry_monitor(found[0]["mean"], shuffled)
    assert auroc(planted, carried, planted.y) < 0.75


def test_vectors_go_along_the_map_and_back(planted, found, crossing):
    own = found[0]["mean"]
    forward, transpose, inverse = (
        carry_vector(own, crossing, rule=rule, cutoff=1e-6)
        if rule == "inverse"
        else carry_vector(own, crossing, rule=rule)
        for rule in RULES
    )
    np.testing.assert_allclose(forward, own.vector @ planted.mixing, atol=1e-3)
    np.testing.assert_allclose(inverse, forward, atol=1e-3)
    back = np.linalg.inv(planted.mixing)
    np.testing.assert_allclose(transpose, back @ own.vector, atol=1e-3)
    assert cosine(transpose, forward) < 0.9  # scales of the two spaces differ


def test_a_cutoff_leaves_small_singular_values_out_of_the_inverse(found, crossing):
    whole, cut = (
        carry_vector(found[0]["mean"], crossing, rule="inverse", cutoff=cutoff)
        for cutoff in (1e-6, 0.3)
    )
    assert np.linalg.norm(cut) < np.linalg.norm(whole)


def test_all_arms_are_there_and_the_complement_is_orthogonal(found, crossing, shuffled):
    vectors = carried_vectors(Origin(found[0], crossing, shuffled), found[1]["mean"])
    assert tuple(vectors) == CARRIED
    assert abs(vectors["complement"] @ found[1]["mean"].vector) < 1e-9


def test_geometry_of_spaces_that_are_one_is_one(planted, found, crossing):
    moments = planted.moments()["select"]
    measures = measure_geometry(crossing, moments, found[0]["mean"], found[1]["mean"])
    assert tuple(measures) == GEOMETRY
    for name in ("r2_forward", "r2_backward", "round_trip", "native_cosine"):
        assert measures[name] == pytest.approx(1, abs=1e-3), name
    assert measures["monitor_cosine"] < 0.99


def test_what_is_of_another_model_or_layer_is_refused(found, crossing):
    for carry in (carry_monitor, carry_vector):
        with pytest.raises(FingerprintError, match=r"model: 'b' against 'a'"):
            carry(found[1]["mean"], crossing)
        other = found[0]["mean"]._replace(place=SOURCE | {"layer": 4})
        with pytest.raises(FingerprintError, match="layer: 4 against 3"):
            carry(other, crossing)
    np.testing.assert_allclose(
        carry_vector(found[1]["mean"], crossing.reversed()),
        found[1]["mean"].vector @ np.asarray(crossing.backward.kernel),
    )


def test_bad_input_is_refused(planted, found, crossing):
    x, labels = planted.x, planted.labels
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_direction(x, labels * 0, x, labels, kind="mean", place=SOURCE)
    with pytest.raises(ValueError, match="kind must be one of mean, logistic, sparse"):
        fit_direction(x, labels, x, labels, kind="median", place=SOURCE)
    with pytest.raises(ValueError, match="rule must be one of forward, transpose"):
        carry_vector(found[0]["mean"], crossing, rule="sideways")
    with pytest.raises(ValueError, match="needs width 8, got 3"):
        found[0]["mean"].score(x[:, :3])
