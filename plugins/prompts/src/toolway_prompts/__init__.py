"""The plugin `prompts`: collections of Jinja2 prompts as upstreams, with versions, a linter, previews and tests."""
