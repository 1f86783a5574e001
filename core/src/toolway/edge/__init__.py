"""Between the machine and the gateway: processes, what they count, connections, requests, and what may be dialled.

It serves any ASGI application and knows nothing of MCP; it sees what plugins see, `toolway.hookspecs` and the errors.
"""
