"""The words for methods, measures and detectors in tables."""

METHOD_NAMES = {
    "least_squares": "least squares",
    "ridge": "ridge",
    "reduced_rank": "reduced rank",
    "cca": "CCA",
    "whitened": "CCA, whitened",
    "pls": "PLS",
    "procrustes": "Procrustes",
    "scaled_procrustes": "scaled Procrustes",
    "relative": "relative representations",
    "gradient_mse": "gradient, squared error",
    "gradient_low_rank": "gradient, low rank",
    "gradient_cosine": "gradient, cosine",
    "gradient_huber": "gradient, Huber",
    "mlp": "gradient, ridge and one hidden layer",
}
PROBES = {
    "target_probe": "target, its own probe and states",
    "source_probe": "source, its own probe and states",
}
CURVE_NAMES = METHOD_NAMES | {"control_shuffled": "control: ridge, shuffled pairs"}
CONTROL_NAMES = {
    "shuffled": "control: shuffled pairs",
    "random": "control: random rotation",
    "mean": "control: the mean",
    "identity": "control: unchanged source states",
}
MEASURE_NAMES = {
    "linear_cka": "linear CKA",
    "unbiased_cka": "linear CKA, unbiased",
    "rbf_cka": "RBF CKA",
    "unbiased_rbf_cka": "RBF CKA, unbiased",
    "rsa_pearson": "RSA, Pearson",
    "rsa_spearman": "RSA, Spearman",
    "mutual_knn": "mutual nearest neighbours",
    "cknna": "CKNNA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes distance",
    "r2_forward": "R2, first to second",
    "r2_backward": "R2, second to first",
    "cosine": "cosine of mapped states",
    "agreement": "agreement of the probe",
    "divergence": "divergence of the probe, nats",
}
DETECTOR_NAMES = {
    "energy": "energy",
    "msp": "maximum softmax probability",
    "max_logit": "maximum logit",
    "entropy": "entropy",
    "mahalanobis": "Mahalanobis",
    "relative_mahalanobis": "relative Mahalanobis",
    "knn": "nearest neighbours",
    "cosine": "cosine",
    "vim": "ViM",
    "one_class": "one class",
}
GATE_NAMES = {
    "coverage": "coverage: share trusted",
    "agreement": "agreement of those with the target's first choice",
    "agreement_all": "agreement of all, trusted or not",
    "agreement_mixed": "agreement if the target answers the rest",
    "perplexity_mixed": "perplexity if the target answers the rest",
}
SPELLING_NAMES = {
    "raw_special": "vocabulary strings, special tokens included",
    "raw": "vocabulary strings",
    "decoded": "decoded alone",
    "bytes": "bytes",
    "bare": "bytes without leading spaces",
}
COUNTED_NAMES = {  # what a match rate counts
    "position": "same position",
    "pair": "paired by ends",
    "span": "same stretch of text",
    "boundary": "same boundary",
}
