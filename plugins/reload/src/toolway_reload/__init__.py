"""Another configuration takes over without a lost request."""
