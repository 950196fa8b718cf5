"""Maps between caches: planted ones are found, other models and shapes are refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.activations.layer_moments import LayerMoments
from helix_jax.alignment import fit_ridge, from_batch, ridge_at
from helix_jax.alignment.grouped_ridge import fit_grouped_ridge
from helix_jax.caches import (
    CacheMap,
    LayerMaps,
    cache_form,
    choose_layers,
    fit_cache_map,
    fit_cache_residual,
    identity_map,
    load_cache_map,
    map_cache,
    save_cache_map,
)
from helix_jax.caches.fit import CacheMoments
from helix_jax.errors import ArtefactError, FingerprintError
from helix_jax.models import empty_cache

RNG = np.random.default_rng(0)
LAYERS, WIDTH, ROWS = 5, 6, 3000


def planted(form_x, form_y):
    """Moments of states where target layer j is made of source layers j and j + 2."""
    x = RNG.normal(size=(LAYERS, ROWS, WIDTH)).astype(np.float32)
    kernels = RNG.normal(size=(3, 2, WIDTH, WIDTH)).astype(np.float32)
    y = np.stack([x[j] @ a + x[j + 2] @ b + 1 for j, (a, b) in enumerate(kernels)])
    y += 0.1 * RNG.normal(size=y.shape).astype(np.float32)
    moments = {}
    for split, rows in (("fit", slice(0, 2000)), ("select", slice(2000, None))):
        parts = (np.concatenate(z[:, rows], axis=1) for z in (x, y))
        part = LayerMoments(from_batch(*parts), (tuple(range(LAYERS)), (0, 1, 2)))
        moments[split] = CacheMoments(part, part, form_x, form_y)
    return moments, kernels


@pytest.fixture(scope="module")
def forms(twin):
    source = cache_form(twin("llama")[1].spec)
    one = {"kv_heads": 1, "head_width": WIDTH, "rope": None}
    return (
        source.__class__(LAYERS, **one, local_rope=None, turns=("none",) * LAYERS),
        source.__class__(3, **one, local_rope=None, turns=("none",) * 3),
    )


@pytest.mark.slow
def test_planted_layers_and_kernels_are_found(forms):
    moments, kernels = planted(*forms)
    choice = choose_layers(moments, count=2)
    for part in ("keys", "values"):
        found = choice[part].layers
        assert [set(own) for own in found.tolist()] == [{0, 2}, {1, 3}, {2, 4}]
        assert choice[part].alone.shape == (LAYERS, 3)
    fitted = fit_cache_map(moments, choice)
    assert fitted.r2["keys"].min() > 0.99
    part = fitted.map.keys
    for layer, (first, second) in enumerate(kernels):
        wanted = {layer: first, layer + 2: second}
        stacked = np.concatenate([wanted[i] for i in part.layers[layer].tolist()])
        np.testing.assert_allclose(part.kernel[layer], stacked, rtol=0, atol=0.03)
    np.testing.assert_allclose(part.bias, 1, rtol=0, atol=0.03)
    # All layers together find the same; one alone cannot; a low rank loses.
    every = fit_cache_map(moments, None)
    assert every.mean_r2 == pytest.approx(fitted.mean_r2, abs=1e-3)
    assert fit_cache_map(moments, choice, count=1).mean_r2 < 0.8
    low = fit_cache_map(moments, choice, rank=2)
    assert 0.2 < low.mean_r2 < 0.8
    assert np.linalg.matrix_rank(low.map.keys.kernel[0], tol=1e-3) == 2


def test_a_low_rank_change_of_the_own_cache_is_found(forms):
    """y = x + x U V + 1, from the moments of (x, y): the kernel is I + U V."""
    form = forms[0]
    x = 3 * RNG.normal(size=(LAYERS, ROWS, WIDTH)).astype(np.float32) + 5
    thin = RNG.normal(size=(LAYERS, WIDTH, 2)) @ RNG.normal(size=(LAYERS, 2, WIDTH))
    y = x + x @ thin.astype(np.float32) + 1
    y += 0.1 * RNG.normal(size=y.shape).astype(np.float32)
    moments = {}
    for split, rows in (("fit", slice(0, 2000)), ("select", slice(2000, None))):
        parts = (np.concatenate(z[:, rows], axis=1) for z in (x, y))
        part = LayerMoments(from_batch(*parts), (tuple(range(LAYERS)),) * 2)
        moments[split] = CacheMoments(part, part, form, form)
    fitted = fit_cache_residual(moments, rank=2)
    assert fitted.map.keys.layers.tolist() == [[j] for j in range(LAYERS)]
    for part in (fitted.map.keys, fitted.map.values):
        np.testing.assert_allclose(part.kernel, np.eye(WIDTH) + thin, rtol=0, atol=0.02)
        np.testing.assert_allclose(part.bias, 1, rtol=0, atol=0.1)
    assert fitted.r2["keys"].min() > 0.99
    # Of one rank less it is worse, and the change itself has no more than that rank.
    low = fit_cache_residual(moments, rank=1)
    assert low.mean_r2 < fitted.mean_r2 - 0.01
    change = np.asarray(low.map.values.kernel[0]) - np.eye(WIDTH)
    assert np.linalg.matrix_rank(change, tol=1e-3) == 1
    wider = moments["fit"]._replace(target=forms[1])
    with pytest.raises(ValueError, match="as many layers of one width, got 5"):
        fit_cache_residual({"fit": wider, "select": wider}, rank=2)


def test_groups_are_ridge_with_a_penalty_each():
    x = RNG.normal(size=(400, 7))
    y = np.concatenate([x @ RNG.normal(size=(7, 3)), RNG.normal(size=(400, 3))], axis=1)
    fit, select = from_batch(x[:300], y[:300]), from_batch(x[300:], y[300:])
    found = fit_grouped_ridge(fit, select, groups=2, penalties=(1e-6, 1e-2, 1.0))
    assert found.penalties[0] == 1e-6  # a plain truth
    assert found.penalties[1] == 1.0  # nothing to be found
    for group, columns in enumerate((slice(0, 3), slice(3, 6))):
        own = from_batch(x[:300], y[:300, columns])
        ridge = ridge_at(fit_ridge(own, penalties=found.penalties[group]), 0).map
        np.testing.assert_allclose(
            found.map.kernel[:, columns], ridge.kernel, atol=1e-9
        )
        np.testing.assert_allclose(found.map.bias[columns], ridge.bias, atol=1e-9)
        error = y[300:, columns] - np.asarray(ridge(x[300:]))
        total = y[300:, columns] - y[300:, columns].mean(0)
        r2 = 1 - (error**2).sum() / (total**2).sum()
        assert found.r2[group] == pytest.approx(r2, abs=1e-9)
    with pytest.raises(ValueError, match="4 groups must divide"):
        fit_grouped_ridge(fit, select, groups=4)
    with pytest.raises(ValueError, match="positive numbers"):
        fit_grouped_ridge(fit, select, penalties=(0.0,))


def test_maps_of_other_models_layers_and_rotary_bases_are_refused(twin, tmp_path):
    source, target = (twin(name)[1] for name in ("llama", "gemma3"))
    forms = [cache_form(model.spec) for model in (source, target)]
    layers, dx, dy = forms[1].layers, forms[0].width, forms[1].width
    part = LayerMaps(
        jnp.zeros((layers, 1), jnp.int32),
        jnp.ones((layers, dx, dy)),
        jnp.zeros((layers, dy)),
    )
    cache_map = CacheMap(part, part, *forms)
    save_cache_map(tmp_path / "map", cache_map, source, target, made_of={"pairs": 3})
    found, made_of = load_cache_map(tmp_path / "map", source, target)
    assert (found.source, found.target) == tuple(forms)
    np.testing.assert_array_equal(found.keys.kernel, part.kernel)
    assert made_of["made_of"] == {"pairs": 3}
    with pytest.raises(
        FingerprintError, match=r"(?s)the target of the map.*cache head_width"
    ):
        load_cache_map(tmp_path / "map", source, source)
    other = twin("llama_linear")[1]  # other frequencies, and weights
    with pytest.raises(
        FingerprintError, match=r"(?s)the source of the map.*cache rope"
    ):
        load_cache_map(tmp_path / "map", other, target)
    with pytest.raises(FingerprintError, match=r"(?s)the source of the map.*rope"):
        cache_map.check(other.spec, target.spec)
    with pytest.raises(FingerprintError, match="the source of the map"):
        save_cache_map(tmp_path / "x", cache_map, target, target, made_of={})
    worse = cache_map.replace(keys=part.replace(kernel=part.kernel * np.nan))
    with pytest.raises(ValueError, match="holds NaN"):
        save_cache_map(tmp_path / "x", worse, source, target, made_of={})
    with pytest.raises(ArtefactError, match="is not a folder of a 'cache_map'"):
        load_cache_map(tmp_path / "none", source, target)


def test_caches_that_do_not_fit_a_map_are_refused(twin):
    source, target = (twin(name)[1] for name in ("llama", "gemma3"))
    form = cache_form(source.spec)
    same = identity_map(form, form)
    assert identity_map(form, cache_form(target.spec)) is None
    own, other = (empty_cache(model.spec, 2, 8) for model in (source, target))
    places = jnp.zeros((2, 4), jnp.int32)
    with pytest.raises(ValueError, match="map_cache: source: keys need layers"):
        map_cache(same, other, own, places)
    with pytest.raises(ValueError, match="map_cache: target: keys need layers"):
        map_cache(same, own, other, places)
    with pytest.raises(ValueError, match="need the same rows, got 2, 2 and 1"):
        map_cache(same, own, own, places[:1])
    with pytest.raises(ValueError, match="got 9 more tokens"):
        map_cache(same, own, own, jnp.zeros((2, 9), jnp.int32))
    short = same.replace(values=same.values.replace(bias=same.values.bias[:, 1:]))
    with pytest.raises(ValueError, match="bias of the values need shape"):
        map_cache(short, own, own, places)
