"""What a map carries from one store of states to another, and what it loses."""
