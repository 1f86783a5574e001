"""The kinds of upstreams that speak MCP themselves, over HTTP or to a program, and how the gateway logs in there."""
