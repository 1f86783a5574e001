"""A catalog of API tokens: signed (JWT), limited, with an end, revoked at once; one-time tokens."""
