"""A cache of results: what upstreams answered is answered again, as long as it is fresh and to whom it may be shown."""
