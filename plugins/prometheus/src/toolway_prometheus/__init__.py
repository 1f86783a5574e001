"""The plugin `prometheus`: what the gateway counts, for Prometheus to scrape."""
