"""The contracts between the kernel and its plugins: Protocols, data types and registration hooks."""
