"""Write YAML that all readers read alike: Helm and kubectl take more words for truth values and numbers than PyYAML."""

import re
from typing import Any, Final

import yaml

_AMBIGUOUS: Final = re.compile(r"[yn]\Z|[-+.]{0,2}[0-9]", re.IGNORECASE)
"""The beginning of such text: ``y`` is true to Helm, and ``1e3`` a number; PyYAML would quote neither."""


class Dumper(yaml.SafeDumper):
    """A YAML writer that quotes text that some reader takes for something else, and repeats values in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Choose the quotes."""
        style = "'" if _AMBIGUOUS.match(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, Dumper.represent_text)
