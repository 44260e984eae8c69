"""Sessions as documents: notebooks written, exported and read."""
