r"""A linear classifier by Concrete ML, as its deployment examples build it, over HTTPS.

    python concrete_service.py make PROBLEM FOLDER
    python concrete_service.py serve FOLDER CERTIFICATE PRIVATE_KEY
    python concrete_service.py ask PROBLEM AUTHORITY PORT

`make`: scikit-learn's LogisticRegression with the given weights, quantised to 8 bits by
the embeddings that the problem gives for that, compiled to TFHE and saved by
`FHEModelDev`. `serve`: the routes of the server that comes with Concrete ML
(get_client, add_key, compute), around `FHEModelServer`. `ask`: `FHEModelClient`. The
library's own parameters, 128 bits of security. Nothing hides the weights.
"""

import io
import json
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
from asking import take_turns
from concrete.ml.deployment import FHEModelClient, FHEModelDev, FHEModelServer
from concrete.ml.sklearn import LogisticRegression
from fastapi import FastAPI, Form, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from https import connection, serve
from sklearn import linear_model

BITS = 8


def make_model(problem: str, folder: str) -> None:
    """Compile and save a model that has the problem's weights."""
    given = np.load(problem)
    plain = linear_model.LogisticRegression()
    plain.coef_ = given["kernel"].T.copy()
    plain.intercept_ = given["bias"]
    plain.classes_ = np.arange(len(given["bias"]))
    plain.n_features_in_ = len(given["kernel"])
    plain.n_iter_ = np.array([1])
    rows = given["calibration"].astype(np.float32)
    model = LogisticRegression.from_sklearn_model(plain, rows, n_bits=BITS)
    model.compile(rows)
    FHEModelDev(folder, model).save()
    print(json.dumps({"bits": BITS}))


def make_app(folder: str) -> FastAPI:
    """The service of one model."""
    server, keys = FHEModelServer(folder), {}
    app = FastAPI()

    @app.get("/get_client")
    def get_client() -> FileResponse:
        return FileResponse(Path(folder) / "client.zip", media_type="application/zip")

    @app.post("/add_key")
    async def add_key(key: UploadFile) -> dict[str, str]:
        name = str(uuid.uuid4())
        keys[name] = await key.read()
        return {"uid": name}

    @app.post("/compute")
    async def compute(
        model_input: UploadFile, uid: Annotated[str, Form()]
    ) -> StreamingResponse:
        answer = server.run(await model_input.read(), keys[uid])
        return StreamingResponse(io.BytesIO(answer))

    return app


def connect(http: httpx.Client):
    """Keys of a client and what asks with them."""
    client_file = http.get("/get_client")
    client_file.raise_for_status()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "client.zip").write_bytes(client_file.content)
        client = FHEModelClient(folder, key_dir=f"{folder}/keys")
        client.generate_private_and_evaluation_keys()
    public = client.get_serialized_evaluation_keys()
    registered = http.post("/add_key", files={"key": public})
    registered.raise_for_status()
    name = registered.json()["uid"]

    def ask(x: np.ndarray) -> np.ndarray:
        query = client.quantize_encrypt_serialize(x[None].astype(np.float32))
        answer = http.post("/compute", data={"uid": name}, files={"model_input": query})
        answer.raise_for_status()
        # Its `deserialize_decrypt_dequantize` would go on to probabilities.
        found = client.deserialize_decrypt(answer.content)
        return client.model.dequantize_output(found)[0]

    return ask, len(public)


if __name__ == "__main__":
    task, *rest = sys.argv[1:]
    if task == "make":
        make_model(*rest)
    elif task == "serve":
        serve(make_app(rest[0]), *rest[1:])
    else:
        problem, authority, port = rest
        take_turns(
            lambda port: connect(connection(authority, port)), int(port), problem
        )
