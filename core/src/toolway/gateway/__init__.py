"""The data plane: HTTP in, dispatch, attempts, streams and subscriptions."""
