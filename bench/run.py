"""Run every benchmark; trust the ratios within one run, not the absolute numbers."""

import cold
import process
import warm

if __name__ == "__main__":
    warm.main()
    cold.main()
    process.main()
