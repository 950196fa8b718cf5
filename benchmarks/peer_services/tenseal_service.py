r"""Encrypted logistic regression by TenSEAL, as its tutorials build it, over HTTPS.

    python tenseal_service.py serve PROBLEM CERTIFICATE PRIVATE_KEY
    python tenseal_service.py ask PROBLEM AUTHORITY PORT PARAMETERS

PARAMETERS: `tutorial`, those of its tutorial 1 ("Training and Evaluation of Logistic
Regression on Encrypted Data"): N = 4096, 40 + 20 + 40 bits, scale 2^20; or `precise`,
those of its tutorial 0 without the level that one product does not need: N = 8192,
60 + 40 + 60 bits, scale 2^40. Both have 128 bits of security by the Homomorphic
Encryption Security Standard (at most 109 and 218 bits of modulus).

The model of the tutorial has one output and takes `enc_x.dot(weight) + bias`; this one
does so once a class. (`matmul` by all classes at once takes 25 times as long at this
size.) The context, without its secret key, is registered once. Nothing hides the
weights: answers are what the library returns.
"""

import struct
import sys
import uuid

import httpx
import numpy as np
import tenseal as ts
from asking import take_turns
from fastapi import FastAPI, Request, Response
from https import connection, serve

PARAMETERS = {
    "tutorial": (4096, [40, 20, 40], 2.0**20),
    "precise": (8192, [60, 40, 60], 2.0**40),
}


def join_parts(parts: list[bytes]) -> bytes:
    """Several messages as one, each behind its length."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def split_parts(message: bytes) -> list[bytes]:
    """What `join_parts` joined."""
    parts = []
    while message:
        (size,) = struct.unpack_from("<I", message)
        parts.append(message[4 : 4 + size])
        message = message[4 + size :]
    return parts


def make_app(problem: str) -> FastAPI:
    """The service of one model."""
    given = np.load(problem)
    weights = given["kernel"].T.tolist()
    shifts = [[shift] for shift in given["bias"].tolist()]
    contexts: dict[str, ts.Context] = {}
    app = FastAPI()

    @app.post("/contexts")
    async def register(request: Request) -> dict[str, str]:
        name = str(uuid.uuid4())
        contexts[name] = ts.context_from(await request.body())
        return {"context": name}

    @app.post("/evaluate/{name}")
    async def evaluate(name: str, request: Request) -> Response:
        encrypted = ts.ckks_vector_from(contexts[name], await request.body())
        products = [encrypted.dot(weight) for weight in weights]
        answers = [product + shift for product, shift in zip(products, shifts)]
        return Response(join_parts([answer.serialize() for answer in answers]))

    return app


def connect(http: httpx.Client, parameters: str):
    """Keys of a client and what asks with them."""
    degree, sizes, scale = PARAMETERS[parameters]
    own = ts.context(ts.SCHEME_TYPE.CKKS, degree, -1, sizes)
    own.global_scale = scale
    own.generate_galois_keys()
    public = own.serialize(save_secret_key=False)
    registered = http.post("/contexts", content=public)
    registered.raise_for_status()
    path = f"/evaluate/{registered.json()['context']}"

    def ask(x: np.ndarray) -> np.ndarray:
        query = ts.ckks_vector(own, x.tolist()).serialize()
        answer = http.post(path, content=query)
        answer.raise_for_status()
        parts = split_parts(answer.content)
        return np.array([ts.ckks_vector_from(own, part).decrypt()[0] for part in parts])

    return ask, len(public)


if __name__ == "__main__":
    task, problem, *rest = sys.argv[1:]
    if task == "serve":
        serve(make_app(problem), *rest)
    else:
        authority, port, parameters = rest
        take_turns(
            lambda port: connect(connection(authority, port), parameters),
            int(port),
            problem,
        )
