"""Between the machine and the gateway: processes, sockets, connections, what a request must be like, what may be dialled.

It serves any ASGI application and knows nothing of MCP; it sees what plugins see, `toolway.hookspecs` and the errors.
"""
