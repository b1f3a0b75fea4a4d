"""Routes of the studio, one file a noun. They speak of ids, never of places on the machine."""
