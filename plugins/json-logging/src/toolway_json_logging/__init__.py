"""Logs as JSON, one object a line, with the id of the request in every line; levels that change at run time."""
