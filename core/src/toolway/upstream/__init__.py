"""Built-in kinds of upstreams and what the gateway dials with."""
