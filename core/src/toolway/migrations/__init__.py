"""The kernel's database history."""
