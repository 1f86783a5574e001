"""Default providers, registered through the same hooks as any plugin."""
