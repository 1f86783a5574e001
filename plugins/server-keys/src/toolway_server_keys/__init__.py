"""API keys of virtual servers."""
