"""Search for soft sprites by least squares."""
