"""Natural mistakes with the functions: one line says what came, what is wanted, how.

Each case is a call as somebody would write it who has the wrong thing at hand, and what
the message has to name: the argument, what was given, and the way to the right thing.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from helix_jax import alignment as al
from helix_jax import ood, probes, stats
from helix_jax import similarity as si
from helix_jax.activations import Pair, extract, join, load_embeddings, open_store
from helix_jax.assets import model_path
from helix_jax.generation import generate, native, stitch
from helix_jax.models import load_model, load_tokenizer
from helix_jax.private import Client, FitClient, FitProvider, Provider
from helix_jax.private.aggregation import MomentsFormat, encode
from helix_jax.similarity.retrieval import relevant_ranks
from helix_jax.text.corpora import load_corpus

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 4))).astype("float32")
LABELS = RNG.integers(3, size=60)
NAMES = np.array(["ham", "spam", "eggs"])[LABELS]
LOGITS = (RNG.normal(size=(60, 3)) + 2 * np.eye(3)[LABELS]).astype("float32")
M = al.from_batch(X, Y)
NORMS = si.norms_from_batch(X, Y)
RIDGE = al.fit_ridge(M)
PATH = al.fit_reduced_rank(M)
CHOSEN = al.select_penalty(RIDGE, M)
MAP = CHOSEN.fit.map
PROBES = probes.fit_probes(X, LABELS, num_classes=3, penalties=[0.1, 1.0])
PROBE = probes.select_probe(PROBES, X, LABELS).probe
FITTED = ood.fit_detectors(PROBE, X, LABELS)
KEY = jax.random.key(0)
FRAME = pd.DataFrame(X)

MAPS = {
    "a Selection": (lambda: al.apply_map(CHOSEN, X), "map", "map.fit.map"),
    "a FitResult": (lambda: al.apply_map(CHOSEN.fit, X), "map", "map.map"),
    "a RidgePath": (lambda: al.apply_map(RIDGE, X), "map", "select_penalty(map, mo"),
    "a MapPath": (lambda: al.apply_map(PATH, X), "map", "select_map(map, moments)"),
    "Moments": (lambda: al.apply_map(M, X), "map", "fit_ridge(map)"),
    "a Probe": (lambda: al.apply_map(PROBE, X), "map", "predict_logits"),
    "a tuple": (lambda: al.apply_map((MAP, {}), X), "map", "map[0]: load_map gives"),
    "'maps/a'": (lambda: al.apply_map("maps/a", X), "map", "load_map(map)[0]"),
    "an array": (lambda: al.apply_map(MAP.kernel, X), "map", "AffineMap(kernel, bias)"),
    "a Fitted": (
        lambda: al.apply_map(al.fit_all(M, M, methods=["ridge"])["ridge"], X),
        "map",
        "map.selection.fit.map",
    ),
    "a dict": (
        lambda: al.apply_map(al.fit_all(M, M, methods=["ridge"]), X),
        "map",
        "map[name].selection.fit.map",
    ),
}


@pytest.mark.parametrize("given", MAPS)
def test_something_else_than_a_map(given):
    call, name, remedy = MAPS[given]
    with pytest.raises(TypeError) as caught:
        call()
    one_line(caught, "apply_map", name, "a map of states", given, remedy)


CASES = {
    # the moments left out, or something else in their place
    "path_r2(fit_ridge(m))": (
        lambda: al.path_r2(al.fit_ridge(M)),
        ["path needs a MapPath", "a RidgePath", "select_penalty(path, moments).r2"],
    ),
    "path_r2(path)": (
        lambda: al.path_r2(PATH),
        ["moments is missing", "Moments", "from_batch(x, y)", "path_r2(path, moments)"],
    ),
    "select_map(ridge, m)": (
        lambda: al.select_map(RIDGE, M),
        ["a RidgePath", "select_penalty(path, moments)"],
    ),
    "select_penalty(path, m)": (
        lambda: al.select_penalty(PATH, M),
        ["a MapPath", "select_map(path, moments)"],
    ),
    "select_penalty(m)": (
        lambda: al.select_penalty(M),
        ["path needs a RidgePath", "fit_ridge(path)"],
    ),
    "select_penalty(path, x, y)": (
        lambda: al.select_penalty(RIDGE, X, Y),
        ["moments needs", "from_batch(x, y)"],
    ),
    "ridge_maps(path)": (lambda: al.ridge_maps(PATH), ["a MapPath", "path_maps(path)"]),
    "map_at(ridge, 0)": (
        lambda: al.map_at(RIDGE, 0),
        ["a RidgePath", "ridge_at(path, index)"],
    ),
    "fit_ridge(x, y)": (
        lambda: al.fit_ridge(X, Y),
        ["moments needs", "[60, 6]", "from_batch(x, y)"],
    ),
    "fit_ridge((x, y))": (
        lambda: al.fit_ridge((X, Y)),
        ["a tuple", "from_batch(*moments)"],
    ),
    "fit_ridge(generator)": (
        lambda: al.fit_ridge(pair for pair in [(X, Y)]),
        ["a generator", "accumulate(moments)"],
    ),
    "fit_ridge(norms)": (
        lambda: al.fit_ridge(NORMS),
        ["a NormMoments", "moments.moments"],
    ),
    "fit_procrustes(x, y)": (
        lambda: al.fit_procrustes(X, Y),
        ["moments needs", "from_batch(x, y)"],
    ),
    "evaluate_map(map, x, y)": (
        lambda: al.evaluate_map(MAP, X, Y),
        ["moments needs", "from_batch(x, y)"],
    ),
    "evaluate_map(m, map)": (
        lambda: al.evaluate_map(M, MAP),
        ["affine and moments are in each other's place", "(affine, moments)"],
    ),
    "evaluate_map(selection, m)": (
        lambda: al.evaluate_map(CHOSEN, M),
        ["a Selection", "affine.fit.map"],
    ),
    "evaluate_map(low rank, m)": (
        lambda: al.evaluate_map(al.LowRankMap(np.eye(6), np.eye(6, 4), np.ones(4)), M),
        ["a LowRankMap", "to_affine(affine)"],
    ),
    "evaluate_map(map, swapped)": (
        lambda: al.evaluate_map(MAP, si.swapped(M)),
        ["exchanged", "swapped(moments)"],
    ),
    "path_r2(path, swapped)": (
        lambda: al.path_r2(PATH, si.swapped(M)),
        ["exchanged", "swapped(moments)"],
    ),
    "apply_map(x, map)": (
        lambda: al.apply_map(X, MAP),
        ["map and x are in each other's place"],
    ),
    "merge(x, y)": (lambda: al.merge(X, Y), ["a needs the Moments", "from_batch"]),
    "merge_all(m)": (lambda: al.merge_all(M), ["a Moments", "[parts]"]),
    "ridge_at(path, 99)": (
        lambda: al.ridge_at(RIDGE, 99),
        ["index needs -20 to 19, got 99"],
    ),
    "map_at(path, 99)": (lambda: al.map_at(PATH, 99), ["index needs -4 to 3, got 99"]),
    "ridge_at(path, penalty)": (
        lambda: al.ridge_at(RIDGE, 0.1),
        ["index needs one whole number, got 0.1"],
    ),
    "load_map(map)": (lambda: al.load_map(MAP), ["folder needs a path", "an AffineM"]),
    "save_map(map, folder)": (
        lambda: al.save_map(MAP, "a", source={}, target={}, penalty=None, split="fit"),
        ["folder and map are in each other's place"],
    ),
    "load_probe(probe)": (lambda: probes.load_probe(PROBE), ["folder needs a path"]),
    "fit_all(methods='ridge')": (
        lambda: al.fit_all(M, M, methods="ridge"),
        ["'ridge'", "[methods]"],
    ),
    "fit_gradient(map, x, y)": (
        lambda: al.fit_gradient(MAP, X, Y, loss=al.mse_rows, key=KEY),
        ["fit needs a pair (x, y)", "(fit, y)"],
    ),
    "fit_gradient(loss='mse')": (
        lambda: al.fit_gradient(MAP, (X, Y), (X, Y), loss="mse", key=KEY),
        ["loss needs a function, got 'mse'"],
    ),
    "permutation_null(x, 60)": (
        lambda: stats.permutation_null(X, 60),
        ["statistic needs a function"],
    ),
    "macro_f1(a, b, 3.0)": (
        lambda: probes.macro_f1(LABELS, LABELS, 3.0),
        ["num_classes", "got 3.0"],
    ),
    "macro_f1(a, b)": (
        lambda: probes.macro_f1(LABELS, LABELS),
        ["num_classes is missing"],
    ),
    "calibrate(m, null)": (lambda: si.calibrate(M, X), ["score needs", "a Moments"]),
    "FitClient(x, offer, x)": (
        lambda: FitClient(X, b"", X),
        ["client needs a Client", "use Client()"],
    ),
    "fit_probes(x, labels)": (
        lambda: probes.fit_probes(X, LABELS),
        ["missing", "labels, *, num_classes)"],
    ),
    "fit_all(anchors=x)": (
        lambda: al.fit_all(M, M, anchors=X),
        ["anchors needs a pair", "[60, 6]"],
    ),
    "cca_null(x, y)": (
        lambda: si.cca_null(X, Y, rank=2),
        ["fit needs a pair (x, y)", "(fit, y)"],
    ),
    "moments_null(rows, statistic)": (
        lambda: si.moments_null((X, Y), si.mean_cca),
        ["in each other's place"],
    ),
    "fit_pls(ranks=[2.5])": (
        lambda: al.fit_pls(M, ranks=[2.5]),
        ["ranks need whole numbers, got [2.5]"],
    ),
    "fit_pls(ranks='all')": (
        lambda: al.fit_pls(M, ranks="all"),
        ["ranks need real numbers", "'all'"],
    ),
    "rank_grid(5.5)": (lambda: al.rank_grid(5.5), ["limit needs a whole number"]),
    "identity_map(x, y)": (
        lambda: al.identity_map(X, Y),
        ["dx needs a whole number", "[60, 6]"],
    ),
    "from_batch(dtype='int32')": (
        lambda: al.from_batch(X, Y, dtype="int32"),
        ["floating-point dtype, got int32"],
    ),
    "AffineMap(kernel, [b])": (
        lambda: al.apply_map(al.AffineMap(MAP.kernel, np.ones(1)), X),
        ["bias [dy], got [6, 4] and [1]"],
    ),
    "AffineMap(lists)": (
        lambda: al.apply_map(al.AffineMap([[1.0]], [0.0]), X[:, :1]),
        ["an AffineMap of arrays"],
    ),
    "relative_representation(mean=0)": (
        lambda: al.relative_representation(X, X[:5], mean=0.0),
        ["mean needs", "[]"],
    ),
    "sign_flip_p(a, b)": (
        lambda: stats.sign_flip_p(X[:, 0], Y[:, 0]),
        ["a document is", "is not a name"],
    ),
    "bootstrap(values, values)": (
        lambda: stats.bootstrap_interval(X[:, 0], X[:, 1].tolist()),
        ["is not a name"],
    ),
    "permutation_p(score, [])": (
        lambda: stats.permutation_p(0.5, []),
        ["at least 1", "shuffles"],
    ),
    "benjamini_hochberg(dict)": (
        lambda: stats.benjamini_hochberg({"a": 0.1}),
        ["p_values need real numbers"],
    ),
    "f1_of_confusion(negative)": (
        lambda: probes.f1_of_confusion(-np.eye(3)),
        ["needs counts, got negative"],
    ),
    "detection_metrics(truths, scores)": (
        lambda: ood.detection_metrics(LABELS == 0, X[:, 0]),
        ["scores[labels == 0]"],
    ),
    "detection_metrics(0 and 1, scores)": (
        lambda: ood.detection_metrics(LABELS % 2, X[:, 0]),
        ["zeros and ones"],
    ),
    "detection_metrics(rate=95)": (
        lambda: ood.detection_metrics(X[:, 0], Y[:, 0], rate=95),
        ["share", "got 95"],
    ),
    "fit_one_class(rows)": (
        lambda: ood.fit_one_class(X[0], X[:6]),
        ["covariance needs to be symmetric"],
    ),
    "load_embeddings(x)": (
        lambda: load_embeddings(X),
        ["file needs a path", "[60, 6]"],
    ),
    "load_corpus(list)": (
        lambda: load_corpus(["a.csv", "b.csv"]),
        ["a list", "','.join(name)"],
    ),
    "load_corpus(limit=1e3)": (
        lambda: load_corpus("topics", limit=1e3),
        ["limit needs a whole number"],
    ),
    # streams
    "accumulate((x, y))": (
        lambda: al.accumulate((X, Y)),
        ["batches needs pairs", "a tuple", "[batches]"],
    ),
    "accumulate(x, y)": (
        lambda: al.accumulate(X, Y),
        ["batches needs pairs", "[60, 6]", "[(x, y)]"],
    ),
    "accumulate([x, y])": (
        lambda: al.accumulate([X, Y]),
        ["item 0 is an array [60, 6]", "[(x, y)]"],
    ),
    "accumulate(two rows)": (
        lambda: al.accumulate((X[:2], Y[:2])),
        ["a tuple", "[batches]"],
    ),
    "accumulate(m)": (lambda: al.accumulate(M), ["a Moments", "moments already"]),
    "accumulate_norms((x, y))": (
        lambda: si.accumulate_norms((X, Y)),
        ["a tuple", "[batches]"],
    ),
    "score_rows(selection, rows)": (
        lambda: al.score_rows(CHOSEN, [(X, Y)], centre=M.mean_y),
        ["a Selection", "affine.fit.map"],
    ),
    # arrays of another kind
    "from_batch(frame, y)": (
        lambda: al.from_batch(FRAME, Y),
        ["a pandas.DataFrame", "x.to_numpy()"],
    ),
    "from_batch(lists, y)": (
        lambda: al.from_batch(X.tolist(), Y),
        ["a list", "np.asarray(x, 'float32')"],
    ),
    "from_batch(sparse, y)": (
        lambda: al.from_batch(scipy.sparse.csr_matrix(X), Y),
        ["x.toarray()"],
    ),
    "from_batch(masked, y)": (
        lambda: al.from_batch(np.ma.masked_less(X, 0), Y),
        ["x.filled()"],
    ),
    "from_batch(3, y)": (lambda: al.from_batch(3, Y), ["x needs", "got 3"]),
    "from_batch('x', y)": (lambda: al.from_batch("x.npy", Y), ["got 'x.npy'"]),
    "from_batch(x)": (lambda: al.from_batch(X), ["y is missing", "from_batch(x, y)"]),
    "from_batch(row, row)": (
        lambda: al.from_batch(X[0], Y[0]),
        ["x needs shape [rows, width], got [6]"],
    ),
    "from_batch(x.T, y.T)": (
        lambda: al.from_batch(X.T, Y.T),
        ["same rows, got 6 and 4", "60 wide", "x.T"],
    ),
    "apply_map(map, x.T)": (
        lambda: al.apply_map(MAP, X.T),
        ["x needs width 6, got 60", "x.T"],
    ),
    "apply_map(map, y)": (
        lambda: al.apply_map(MAP, Y),
        ["width 6, got 4", "the target", "source states"],
    ),
    "predict_logits(probe, x.T)": (
        lambda: probes.predict_logits(PROBE, X.T),
        ["width 6, got 60", "x.T"],
    ),
    # similarity: moments where rows are wanted, and the reverse
    "linear_cka(x, y)": (
        lambda: si.linear_cka(X, Y),
        ["moments needs", "from_batch(x, y)"],
    ),
    "unbiased_linear_cka(m)": (
        lambda: si.unbiased_linear_cka(M),
        ["a Moments", "norms_from_batch(x, y)"],
    ),
    "svcca(x, y)": (lambda: si.svcca(X, Y), ["fit needs", "from_batch(x, y)"]),
    "procrustes_distance(x, y)": (
        lambda: si.procrustes_distance(X, Y),
        ["fit needs", "from_batch(x, y)"],
    ),
    "rbf_cka(m, m)": (lambda: si.rbf_cka(M, M), ["x needs", "the rows themselves"]),
    "gram_cka(m)": (lambda: si.gram_cka(M), ["a Moments", "linear_cka(sums)"]),
    "gram_cka(x)": (lambda: si.gram_cka(X), ["sums needs", "gram_sums((x, y))"]),
    "gram_sums(x)": (lambda: si.gram_sums(X), ["representations needs", "use (x, y)"]),
    "cknna(x, y)": (lambda: si.cknna(X, Y), ["a Neighbours", "nearest_neighbours(x)"]),
    "minibatch_cka((x, y))": (lambda: si.minibatch_cka((X, Y)), ["use [batches]"]),
    "relevant_ranks(x, x, 2-D)": (
        lambda: relevant_ranks(X, X, np.arange(60)[:, None]),
        ["relevant needs shape [60]", "[:, 0]"],
    ),
    # labels and probes
    "train_probe(x, names)": (
        lambda: probes.train_probe(X, NAMES, X, NAMES, 3),
        ["labels need an integer dtype", "'", "np.unique"],
    ),
    "fit_probes(x, one-hot)": (
        lambda: probes.fit_probes(X, np.eye(3)[LABELS], num_classes=3),
        ["labels need shape [60]", "argmax(axis=1)"],
    ),
    "accuracy(logits, labels)": (
        lambda: probes.accuracy(LOGITS, LABELS),
        ["predicted needs shape", "argmax"],
    ),
    "nll(labels, logits)": (
        lambda: probes.negative_log_likelihood(LABELS, LOGITS),
        ["logits need shape"],
    ),
    "accuracy(labels, column)": (
        lambda: probes.accuracy(LABELS, LABELS[:, None]),
        ["labels need", "[:, 0]"],
    ),
    "predict_logits(path, x)": (
        lambda: probes.predict_logits(PROBES, X),
        ["a ProbePath", "select_probe(probe"],
    ),
    "predict_logits(selection, x)": (
        lambda: probes.predict_logits(probes.select_probe(PROBES, X, LABELS), X),
        ["a ProbeSelection", "probe.probe"],
    ),
    "predict_logits(x, probe)": (
        lambda: probes.predict_logits(X, PROBE),
        ["probe and x are in each other's"],
    ),
    "predict_logits(map, x)": (
        lambda: probes.predict_logits(MAP, X),
        ["an AffineMap", "apply_map"],
    ),
    "select_probe(probe, x, labels)": (
        lambda: probes.select_probe(PROBE, X, LABELS),
        ["path needs a ProbePath"],
    ),
    # detectors
    "energy_score(labels)": (
        lambda: ood.energy_score(LABELS),
        ["look like labels", "predict_logits"],
    ),
    "entropy_score(labels)": (lambda: ood.entropy_score(LABELS), ["like labels"]),
    "energy_score(probe)": (lambda: ood.energy_score(PROBE), ["logits need real num"]),
    "vim_score(detectors, x)": (
        lambda: ood.vim_score(FITTED, X),
        ["a FittedDetectors", "fitted.vim"],
    ),
    "mahalanobis_score(x, fitted)": (
        lambda: ood.mahalanobis_score(X, FITTED.mahalanobis),
        ["each other's place"],
    ),
    "fit_one_class(m)": (
        lambda: ood.fit_one_class(M),
        ["a Moments", "mean.mean_y, mean.cov_yy"],
    ),
    "fit_detectors(x, labels)": (
        lambda: ood.fit_detectors(X, LABELS),
        ["probe needs a Probe", "fit_probes"],
    ),
    "detection_metrics(scores, labels)": (
        lambda: ood.detection_metrics(LOGITS[:, 0], NAMES),
        ["strange", "real numbers"],
    ),
    # keys
    "fit_unpaired(key=0)": (
        lambda: al.fit_unpaired(X, Y, key=0),
        ["got 0", "jax.random.key(key)"],
    ),
    "bootstrap(key=0)": (
        lambda: stats.bootstrap_interval(LABELS, LABELS, key=0),
        ["got 0", "key(key)"],
    ),
    "null(key=generator)": (
        lambda: si.linear_cka_null(X, Y, key=np.random.default_rng(0)),
        ["a Generator", "jax.random.key(seed)"],
    ),
    "residual_low_rank(map, key)": (
        lambda: al.residual_low_rank(MAP, KEY, rank=2),
        ["key and base are in each"],
    ),
    "random_orthogonal_map(key)": (
        lambda: al.random_orthogonal_map(KEY, key=KEY),
        ["moments needs the Moments"],
    ),
    # what is served
    "encode(x)": (lambda: encode(X, MomentsFormat(6, 4, silos=3)), ["moments needs"]),
    "Provider(map)": (
        lambda: Provider(MAP, input_norm=1.0),
        ["an AffineMap", "kernel.kernel, ker"],
    ),
    "Provider(kernel, 1)": (
        lambda: Provider(np.eye(3), 1.0, input_norm=1.0),
        ["bias needs shape [3]"],
    ),
    "FitProvider(names)": (
        lambda: FitProvider(NAMES[:, None]),
        ["y needs real numbers"],
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_mistake(mistake):
    call, said = CASES[mistake]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    one_line(caught, *said)


def one_line(caught, *said):
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for part in said:
        assert part in message, message


def test_tensors_say_how_they_become_arrays():
    torch = pytest.importorskip("torch")
    for call in (
        lambda: al.from_batch(torch.ones(3, 2), Y[:3]),
        lambda: al.apply_map(MAP, torch.ones(3, 6)),
        lambda: probes.predict_logits(PROBE, torch.ones(3, 6, dtype=torch.bfloat16)),
        lambda: si.nearest_neighbours(torch.ones(3, 6)),
    ):
        with pytest.raises(TypeError, match=r"torch.Tensor: use x.detach.*numpy"):
            call()


def test_stores_and_pairs(tmp_path):
    ids = [f"row{number}" for number in range(60)]
    for name, rows in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", rows)
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    x, y = (
        load_embeddings(tmp_path / f"{name}.npy", ids=tmp_path / "ids.txt")
        for name in "xy"
    )
    pair = join(x, y)
    assert isinstance(pair, Pair)
    for call, said in (
        (lambda: join(pair, x), ["store_x needs a Store", "a Pair", "store_x.x"]),
        (lambda: join(X, Y), ["store_x needs a Store", "load_embeddings(path)"]),
        (lambda: al.accumulate(pair), ["a Pair", "batches.rows()"]),
        (lambda: al.accumulate(x), ["a Store", "join(store_x, store_y).rows()"]),
        (lambda: al.fit_ridge(pair), ["a Pair", "accumulate(moments.rows())"]),
        (lambda: al.fit_ridge(x), ["a Store", "accumulate(join("]),
        (lambda: al.from_batch(x, y), ["a Store", "x.read()"]),
        (lambda: al.apply_map(MAP, x), ["a Store", "x.read()"]),
        (lambda: open_store(x), ["path needs a path", "a Store", "which is open"]),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        one_line(caught, *said)
    assert float(al.evaluate_map(MAP, al.accumulate(pair.rows())).r2) > 0.99


def test_models_and_stitches(tmp_path):
    folder = model_path("pebble-llama")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    width = model.spec.width
    own = al.identity_map(width, width)

    class Corpus:
        def read(self, split):
            return []

    for call, said in (
        (lambda: stitch(model, own, model), ["target and map are in each other's pl"]),
        (lambda: load_model(model), ["a Model", "which is loaded"]),
        (lambda: load_tokenizer(model), ["a Model", "name_or_path.folder"]),
        (lambda: stitch(str(folder), model, own), ["a Model", "load_model(source)"]),
        (lambda: stitch(model, model, CHOSEN), ["a Selection", "map.fit.map"]),
        (
            lambda: generate(model, tokenizer, tokenizer, ["a"]),
            ["a Stitch", "a Model", "native(parts)"],
        ),
        (
            lambda: generate(native(model), tokenizer, tokenizer, ["a"], key=0),
            ["jax.random.key(key)"],
        ),
        (
            lambda: extract(
                model, tokenizer, Corpus(), tmp_path / "s", text_fingerprint="x"
            ),
            ["texts", "a Corpus", "texts.read(split)"],
        ),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        one_line(caught, *said)
    with pytest.raises(ValueError, match=r"must be a list .*'a text': use \[prompts\]"):
        generate(native(model), tokenizer, tokenizer, "a text")


@pytest.mark.slow
def test_queries_of_any_array_are_taken_and_others_refused():
    pytest.importorskip("Pyfhel")
    client = Client("open")
    provider = Provider(np.eye(3, 2), input_norm=4.0, profile="open")
    provider.register(client.public_bundle())
    offer = provider.layer.to_bytes()
    layer = client.read_layer(offer)
    for x in ([1, 2, 3], [1.0, 2.0, 3.0], jnp.arange(3), np.float16([1, 2, 3])):
        found = client.decrypt(provider.answer(client.encrypt(layer, x)))
        np.testing.assert_allclose(found, np.asarray(x)[:2], atol=layer.error)
    with pytest.raises(TypeError, match=r"a bytes: use client.read_layer\(layer\)"):
        client.encrypt(offer, [1, 2, 3])
    with pytest.raises(TypeError, match=r"read_layer\(layer.layer.to_bytes"):
        client.encrypt(provider, [1, 2, 3])
    with pytest.raises(TypeError, match="real numbers"):
        client.encrypt(layer, ["a", "b", "c"])


def test_decorated_functions_stay_as_they_were():
    """Jitted, mapped, and with their names, defaults and own errors."""
    jitted = jax.jit(lambda m, x: al.apply_map(al.ridge_at(al.fit_ridge(m), 3).map, x))
    plain = al.apply_map(al.ridge_at(RIDGE, 3).map, X)
    np.testing.assert_allclose(jitted(M, X), plain, rtol=1e-4, atol=1e-5)
    assert al.fit_ridge.__name__ == "fit_ridge"
    assert "Ridge regression" in al.fit_ridge.__doc__
    legacy = jax.random.PRNGKey(0)
    assert al.derangement(legacy, 5).shape == al.derangement(KEY, 5).shape
    with pytest.raises(TypeError, match="unexpected keyword argument 'penalty'"):
        al.fit_ridge(M, penalty=0.1)
    with pytest.raises(TypeError, match="positional argument"):
        al.fit_ridge(M, M)
