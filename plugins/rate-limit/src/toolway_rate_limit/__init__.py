"""Rate limits and load shedding: how often and how many at once, and what gives way when it is too much for all."""
