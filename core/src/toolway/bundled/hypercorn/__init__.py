"""The built-in server runner: hypercorn's HTTP/1.1 and HTTP/2, read strictly."""
