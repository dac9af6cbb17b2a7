"""A review from request to verdict, and the submissions to Anchore."""
