"""``python -m anchore_admission``: the same as the command ``anchore-admission``."""

from anchore_admission.cli.main import run

if __name__ == "__main__":
    run()
