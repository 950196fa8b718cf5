"""What a map preserves between two stores of states, and what it loses."""
