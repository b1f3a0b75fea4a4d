"""Search: which sprite, where, in what colour."""
