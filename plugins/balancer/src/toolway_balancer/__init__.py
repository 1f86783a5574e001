"""Chooses among the endpoints of an upstream by latency, load and health."""
