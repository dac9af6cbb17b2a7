"""Orchestration over the ports: the review, the facts, the analysis requests."""
