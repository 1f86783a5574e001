"""The plugin `breaker`: circuits of endpoints, and the ejection of outliers."""
