"""The protocol itself: messages, versions, headers, errors, SSE and sealed sessions; no I/O."""
