"""The dtypes that models are loaded in, by name."""

import ml_dtypes
import numpy as np

INT8 = "int8"  # for the blocks' weights only
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
LOADED_DTYPES = DTYPES | {
    INT8: ml_dtypes.bfloat16
}  # and the dtype of the rest with int8
