"""What is registered: the store, discovery, naming and the snapshot that requests read."""
