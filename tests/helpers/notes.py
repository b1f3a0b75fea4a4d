"""A listener that remembers what is said."""

from delaminate.engine.record import SilentCallback


class Notes(SilentCallback):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)
