"""The HTTP surfaces: admission, reviews by hand, documentation, operations."""
