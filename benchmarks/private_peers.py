r"""The cost of the same encrypted products in other libraries.

    python benchmarks/private_peers.py LIBRARY layer WIDTH CLASSES REPEATS
    python benchmarks/private_peers.py LIBRARY covariance ROWS SOURCE TARGET COLUMNS

LIBRARY is openfhe, tenseal or (layer only) pyfhel. This file runs under any interpreter
that has it and numpy, and prints one JSON line. None of these hides the provider's
weights: the answers are sent as the library returns them.

layer: logits of one encrypted embedding. OpenFHE: hybrid diagonals (Juvekar et al.
2018, arXiv 1801.05507) with baby steps and giant steps, hoisted rotations, N = 8192.
TenSEAL: one encrypted dot product per class. Pyfhel: one product and rotate-and-sum per
class, as in its demos.

covariance: COLUMNS of the TARGET columns of X'Y, with X encrypted by rows and Y plain;
the rest is extrapolated in proportion.
"""

import json
import math
import statistics
import sys
import time

import numpy as np


def openfhe_context(batch: int, depth: int = 1):
    """A CKKS context of N = 8192 or more at 128 bits, with its keys."""
    import openfhe as fhe

    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetMultiplicativeDepth(depth)
    parameters.SetScalingModSize(45)
    parameters.SetFirstModSize(55)
    parameters.SetNumLargeDigits(2)  # more special primes do not fit N = 8192
    parameters.SetScalingTechnique(fhe.ScalingTechnique.FIXEDMANUAL)
    parameters.SetSecurityLevel(fhe.SecurityLevel.HEStd_128_classic)
    parameters.SetRingDim(8192)
    parameters.SetBatchSize(batch)
    context = fhe.GenCryptoContext(parameters)
    for feature in ("PKE", "KEYSWITCH", "LEVELEDSHE", "ADVANCEDSHE"):
        context.Enable(getattr(fhe.PKESchemeFeature, feature))
    return context, context.KeyGen()


def openfhe_layer(width: int, classes: int, repeats: int) -> dict:
    """Baby-step giant-step hybrid diagonals."""
    d, k = (1 << (n - 1).bit_length() for n in (width, classes))
    k = min(max(k, 2), d)
    turns = -(-classes // k)  # more classes than the width: several matrices
    baby = 1 << round(math.log2(k) / 2)
    context, keys = openfhe_context(d)
    steps = {*range(1, baby), *range(baby, k, baby)}
    steps |= {k << i for i in range(int(math.log2(d // k)))}
    context.EvalRotateKeyGen(keys.secretKey, sorted(steps))
    generator = np.random.default_rng(0)
    kernel = np.zeros((turns * k, d))
    kernel[:classes, :width] = generator.standard_normal((classes, width))
    kernel *= 10 / math.sqrt(width)
    x = np.zeros(d)
    j = np.arange(d)
    plain = []
    for turn in range(turns):
        own = kernel[turn * k : (turn + 1) * k]
        plain.append(
            [
                context.MakeCKKSPackedPlaintext(
                    np.roll(own[j % k, (i + j) % d], i // baby * baby).tolist()
                )
                for i in range(k)
            ]
        )
    order = 2 * context.GetRingDimension()

    def provide(ciphertext):
        digits = context.EvalFastRotationPrecompute(ciphertext)
        babies = [ciphertext] + [
            context.EvalFastRotation(ciphertext, step, order, digits)
            for step in range(1, baby)
        ]
        answers = []
        for diagonals in plain:
            total = None
            for giant in range(0, k, baby):
                part = None
                for step in range(min(baby, k - giant)):
                    term = context.EvalMult(babies[step], diagonals[giant + step])
                    part = term if part is None else context.EvalAdd(part, term)
                if giant:
                    part = context.EvalRotate(part, giant)
                total = part if total is None else context.EvalAdd(total, part)
            step = k
            while step < d:
                total = context.EvalAdd(total, context.EvalRotate(total, step))
                step *= 2
            answers.append(total)
        return answers

    def encrypt(x):
        return context.Encrypt(
            keys.publicKey, context.MakeCKKSPackedPlaintext(x.tolist())
        )

    def decrypt(answers):
        found = []
        for answer in answers:
            result = context.Decrypt(answer, keys.secretKey)
            result.SetLength(k)
            found += result.GetRealPackedValue()[:k]
        return np.array(found)[:classes]

    x[:width] = generator.standard_normal(width)
    return timed(x, kernel[:classes] @ x, encrypt, provide, decrypt, repeats)


def tenseal_layer(width: int, classes: int, repeats: int) -> dict:
    """One dot product per class."""
    import tenseal as ts

    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
    context.global_scale = 2.0**40
    context.generate_galois_keys()
    generator = np.random.default_rng(0)
    kernel = generator.standard_normal((classes, width)) * 10 / math.sqrt(width)
    x = generator.standard_normal(width)
    rows = [row.tolist() for row in kernel]
    return timed(
        x,
        kernel @ x,
        lambda x: ts.ckks_vector(context, x.tolist()),
        lambda ciphertext: [ciphertext.dot(row) for row in rows],
        lambda answers: np.array([answer.decrypt()[0] for answer in answers]),
        repeats,
    )


def pyfhel_layer(width: int, classes: int, repeats: int) -> dict:
    """One product and rotate-and-sum per class."""
    from Pyfhel import Pyfhel

    he = Pyfhel()
    he.contextGen(scheme="CKKS", n=8192, scale=2.0**40, qi_sizes=[60, 40, 60])
    he.keyGen()
    he.rotateKeyGen()
    he.relinKeyGen()
    generator = np.random.default_rng(0)
    kernel = generator.standard_normal((classes, width)) * 10 / math.sqrt(width)
    x = generator.standard_normal(width)
    plain = [he.encodeFrac(np.ascontiguousarray(row)) for row in kernel]

    def provide(ciphertext):
        return [
            he.cumul_add(he.multiply_plain(ciphertext, row, in_new_ctxt=True), width)
            for row in plain
        ]

    def decrypt(answers):
        return np.array([he.decryptFrac(answer)[width - 1] for answer in answers])

    return timed(x, kernel @ x, he.encryptFrac, provide, decrypt, repeats)


def timed(x, truth, encrypt, provide, decrypt, repeats: int) -> dict:
    """Medians of the three stages, after one turn that does not count."""
    stages = ([], [], [])
    for number in range(repeats + 1):
        times = [time.perf_counter()]
        ciphertext = encrypt(x)
        times.append(time.perf_counter())
        answers = provide(ciphertext)
        times.append(time.perf_counter())
        result = decrypt(answers)
        times.append(time.perf_counter())
        if number:
            for stage, start, stop in zip(stages, times, times[1:]):
                stage.append(stop - start)
    error = float(np.abs(result - truth).max())
    if not error < 1e-2:
        raise SystemExit(f"the peer's result is off by {error}: its time means nothing")
    encrypt_s, provide_s, decrypt_s = map(statistics.median, stages)
    return {
        "encrypt": encrypt_s,
        "provider": provide_s,
        "decrypt": decrypt_s,
        "error": error,
    }


def openfhe_covariance(rows: int, source: int, target: int, columns: int) -> dict:
    """EvalLinearWSum over the row ciphertexts, a target column at a time."""
    context, keys = openfhe_context(1 << (source - 1).bit_length())
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, source))
    y = generator.standard_normal((rows, target))
    began = time.perf_counter()
    encrypted = [
        context.Encrypt(keys.publicKey, context.MakeCKKSPackedPlaintext(row.tolist()))
        for row in x
    ]
    client = time.perf_counter() - began
    began = time.perf_counter()
    sums = [context.EvalLinearWSum(encrypted, y[:, j].tolist()) for j in range(columns)]
    provider = time.perf_counter() - began
    result = context.Decrypt(sums[0], keys.secretKey)
    result.SetLength(source)
    error = np.abs(np.array(result.GetRealPackedValue()) - x.T @ y[:, 0]).max()
    return _covariance(client, provider, target / columns, float(error))


def tenseal_covariance(rows: int, source: int, target: int, columns: int) -> dict:
    """Products with scalars and sums over the row ciphertexts."""
    import tenseal as ts

    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
    context.global_scale = 2.0**40
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, source))
    y = generator.standard_normal((rows, target))
    began = time.perf_counter()
    encrypted = [ts.ckks_vector(context, row.tolist()) for row in x]
    client = time.perf_counter() - began
    began = time.perf_counter()
    sums = []
    for j in range(columns):
        total = None
        for i, ciphertext in enumerate(encrypted):
            term = ciphertext * float(y[i, j])
            total = term if total is None else total + term
        sums.append(total)
    provider = time.perf_counter() - began
    error = np.abs(np.array(sums[0].decrypt()) - x.T @ y[:, 0]).max()
    return _covariance(client, provider, target / columns, float(error))


def _covariance(client: float, provider: float, factor: float, error: float) -> dict:
    if not error < 1:
        raise SystemExit(f"the peer's result is off by {error}: its time means nothing")
    return {"encrypt": client, "provider": provider * factor, "error": error}


if __name__ == "__main__":
    library, task, *sizes = sys.argv[1:]
    print(json.dumps(globals()[f"{library}_{task}"](*map(int, sizes))))
