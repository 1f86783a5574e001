"""REST APIs as tools: OpenAPI documents and single endpoints become an upstream of kind `rest`."""
