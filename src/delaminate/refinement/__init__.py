"""What decomposing leaves to be done: masks follow outlines, and small regions go to what surrounds them."""
