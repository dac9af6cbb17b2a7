"""The Anchore admission controller for Kubernetes: asks Anchore about every image before it runs."""

from importlib.metadata import version

__version__ = version("anchore-admission")
