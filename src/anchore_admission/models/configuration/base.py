"""The base of all sections of the configuration file, and the types that several of them use."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


def _off(value: object) -> object:
    return "off" if value is False else value


def off_in(words: type[StrEnum]) -> BeforeValidator:
    """Accept ``off`` without quotes, which YAML reads as a boolean, as one of these words; also in the JSON schema."""
    return BeforeValidator(_off, json_schema_input_type=words | Literal[False])


class Section(BaseModel):
    """Base of the file's sections: camelCase keys, unknown keys rejected, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        validate_by_name=False,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        field_title_generator=lambda name, _: to_camel(name),
    )
