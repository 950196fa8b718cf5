"""Limits on the size of an index and its texts, and on what one query may request."""

MAX_ROWS = 20_000_000
MAX_BLOCKS = 65_536
MAX_LISTED, MAX_PROBES = 65_536, 1024
MAX_DECOYS = 64
MAX_TEXT_BYTES, MAX_ID_BYTES = 16_384, 512
