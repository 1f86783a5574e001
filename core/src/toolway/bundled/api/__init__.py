"""The REST API of what every gateway has, on the hooks that every plugin has."""
