"""Runs every benchmark; trust the ratios within one run, not the absolute numbers."""

import cold
import machinery
import process

if __name__ == "__main__":
    machinery.main()
    cold.main()
    process.main()
