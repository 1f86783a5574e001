"""Files of other programs, read as documents of our own."""
