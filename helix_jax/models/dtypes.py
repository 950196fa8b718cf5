"""The floats that models are loaded in, by name."""

import ml_dtypes
import numpy as np

INT8 = "int8"  # of the blocks' weights alone
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
LOADED_DTYPES = DTYPES | {INT8: ml_dtypes.bfloat16}  # and what is not int8 then
