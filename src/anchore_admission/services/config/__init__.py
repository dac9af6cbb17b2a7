"""The configuration file: reading it, and naming everything that is wrong with it."""
