"""The stages of one encrypted query, as tables show them."""

STAGES = {  # of one query -> words
    "prepare": "masks, ahead",
    "client_encrypt": "client encrypts",
    "provider": "provider",
    "client_decrypt": "client decrypts",
}
