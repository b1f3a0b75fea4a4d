"""Search for sprites that recur pixel for pixel."""
