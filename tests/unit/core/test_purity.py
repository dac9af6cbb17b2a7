"""The core remembers nothing: its values are frozen, and none of its functions caches."""

import dataclasses
import importlib
import inspect
import pkgutil
from types import ModuleType

import msgspec
import pytest

from anchore_admission import core

MODULES = [importlib.import_module(found.name) for found in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")]
CLASSES = [
    pytest.param(value, id=f"{module.__name__.removeprefix('anchore_admission.')}.{name}")
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value)
    and value.__module__ == module.__name__
    and (dataclasses.is_dataclass(value) or issubclass(value, msgspec.Struct))
]
_MUTABLE = ("dict", "list", "set", "bytearray", "deque", "defaultdict", "MutableMapping", "MutableSequence")


@pytest.mark.parametrize("value", CLASSES)
def test_a_value_is_frozen_and_holds_nothing_that_changes(value: type) -> None:
    is_struct = issubclass(value, msgspec.Struct)
    assert (value.__struct_config__ if is_struct else value.__dataclass_params__).frozen  # type: ignore[attr-defined]
    for field in msgspec.structs.fields(value) if is_struct else dataclasses.fields(value):
        kind = field.type if isinstance(field.type, str) else str(field.type)
        name = kind.partition("[")[0].rpartition(".")[2]
        assert name not in _MUTABLE, f"{field.name}: {kind}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_function_caches(module: ModuleType) -> None:
    source = inspect.getsource(module)
    assert "functools" not in source
    assert "global " not in source
