"""Removes secrets from whatever the gateway tells: logs, errors, spans, audit, exports."""
