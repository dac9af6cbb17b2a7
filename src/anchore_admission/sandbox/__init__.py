"""A simulated Anchore server: in memory, seeded from a file, for tests, demos and a first look."""

from anchore_admission.sandbox.app import create_sandbox
from anchore_admission.sandbox.default_seed import DEFAULT_SEED
from anchore_admission.sandbox.seed import Seed
from anchore_admission.sandbox.seed_file import InvalidSeed, load_seed

__all__ = ["DEFAULT_SEED", "InvalidSeed", "Seed", "create_sandbox", "load_seed"]
