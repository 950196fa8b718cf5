"""The service of a provider and its clients, over a network; see docs/protocol.md."""
