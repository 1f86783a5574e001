"""Export and import of declared objects."""
