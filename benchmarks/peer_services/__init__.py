"""Services of other libraries, run by interpreters that have these."""
