"""A listener that remembers what is said."""


class Notes:
    """Remembers what is said."""

    def __init__(self):
        self.notes = []

    def stage(self, name, step, steps):
        pass

    def step(self, name, step, figures):
        pass

    def note(self, text):
        self.notes.append(text)

    def close(self):
        pass
