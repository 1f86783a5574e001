"""Timeouts, retries and concurrency limits that follow what upstreams do."""
