"""Roles and bindings: who may do what, decided in memory."""
