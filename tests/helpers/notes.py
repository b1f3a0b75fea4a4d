"""A listener that remembers what is said."""

from delaminate.engine.record import Quiet


class Notes(Quiet):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)
