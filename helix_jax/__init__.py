"""Linear maps between the hidden states of independently trained models."""

__version__ = "0.1.0"
