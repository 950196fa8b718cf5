"""How large an index and its texts may be, and how much one query may ask."""

MAX_ROWS = 20_000_000
MAX_BLOCKS = 65_536
MAX_LISTED, MAX_PROBES = 65_536, 1024
MAX_DECOYS = 64
MAX_TEXT_BYTES, MAX_ID_BYTES = 16_384, 512
