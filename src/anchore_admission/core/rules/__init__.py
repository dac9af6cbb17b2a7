"""Rules: which one an image of a workload falls under."""
