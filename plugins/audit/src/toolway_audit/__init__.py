"""An audit trail: who changed or called what, in an append-only chain of hashes."""
