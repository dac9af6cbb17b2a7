"""Load the configuration file, and report all of its mistakes."""
