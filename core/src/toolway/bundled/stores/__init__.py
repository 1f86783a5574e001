"""State and messages that nodes share: in memory for one node, in the database for several."""
