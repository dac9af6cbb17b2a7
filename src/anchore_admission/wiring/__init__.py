"""Composition: the only package that constructs adapters."""
