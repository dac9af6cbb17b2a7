"""Drive a real controller against an Anchore with faults, and check every verdict against a reference model."""
