"""Tests of one release, installed for all of them: pytest's scope ``package`` needs this file."""
