"""Toolway on uvicorn: the fast server for HTTP/1.1."""
