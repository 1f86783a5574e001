"""The registry: upstreams and servers that are declared by API, in the database."""
