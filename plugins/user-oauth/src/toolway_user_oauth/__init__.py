"""Upstreams that want the caller's own account: OAuth tokens per user and upstream, with the consent of each."""
