"""The studio: a page, served on one's own machine, in which layers are seen, edited and taken away. Nothing imports it."""
