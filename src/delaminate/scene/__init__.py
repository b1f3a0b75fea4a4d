"""The shared idea: layers become an image."""
