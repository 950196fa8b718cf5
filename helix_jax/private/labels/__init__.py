"""Answers that show the label alone, in two rounds; see docs/labels.md."""
