"""The stages of one encrypted query, and their names in tables."""

STAGES = {  # stage -> its name in tables
    "prepare": "masks, ahead",
    "client_encrypt": "client encrypts",
    "provider": "provider",
    "client_decrypt": "client decrypts",
}
