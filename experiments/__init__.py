"""One absl program per question; each is importable as `run(config)`."""
