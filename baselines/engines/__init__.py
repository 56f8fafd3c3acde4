"""Ways to get a completion for a request."""
