"""Between the machine and the gateway: processes, sockets, connections, and what a request must be like.

It serves any ASGI application and knows nothing of MCP; it sees what plugins see, `toolway.hookspecs` and the errors.
"""
