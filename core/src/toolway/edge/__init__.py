"""The door: what a request and its connection must be like before the gateway looks at it."""
