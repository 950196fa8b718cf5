"""Choices by name, apart from the code that implements them.

That code is slow to load, and listing the names does not need it.
"""

AUTO = "auto"  # as the model's folder specifies
POOLINGS = ("mean", "last", "cls", "weighted_mean", "max", "mean_sqrt", "token")
ENGINES = ("auto", "jax", "torch")  # what runs a model
TOKEN_MAPS = ("ridge", "kl", "mlp")  # how a map between token states is fitted
SIGNALS = ("entropy", "max_probability", "margin")  # that a gate can use
CALIBRATIONS = ("raw", "standardised", "log_odds")  # of the scores of two searches
PLACE_RULES = ("after", "before")  # caches: which source token stands for a target's
