"""Corpora as streams of (id, text, label), their splits, and a trigram baseline."""
