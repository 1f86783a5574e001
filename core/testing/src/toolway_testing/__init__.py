"""What tests of Toolway and of its plugins share: pytest fixtures, real servers and polling."""

__version__ = "0.1.0"
