"""A review from the request to the verdict, and what is asked of Anchore for it."""
