"""Speed against the tools one would use instead, side by side in one run."""
