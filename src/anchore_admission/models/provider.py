"""Gatekeeper's external data: the questions that it sends to a provider, and the answers that it reads."""

from typing import Final

from msgspec import UNSET, Struct, UnsetType

from anchore_admission.models.image_report import ImageReport

API_VERSION: Final = "externaldata.gatekeeper.sh/v1beta1"
PROVIDER_PATH: Final = "/facts/gatekeeper"
REQUEST_KIND: Final = "ProviderRequest"
RESPONSE_KIND: Final = "ProviderResponse"
MOST_IMAGES: Final = 100
"""The most images of a question."""


class Keys(Struct, frozen=True):
    """The keys that Gatekeeper does not remember; it leaves an empty list out."""

    keys: list[str] | None = None


class ProviderRequest(Struct, frozen=True, rename="camel"):
    """A question of Gatekeeper. Everything is optional here, so that an answer can say what is missing."""

    api_version: str = ""
    kind: str = ""
    request: Keys | None = None


class Item(Struct, frozen=True, omit_defaults=True):
    """The answer about one key: a value, or an error; Gatekeeper remembers both for three minutes."""

    key: str
    value: ImageReport | UnsetType = UNSET
    error: str = ""


class Answer(Struct, frozen=True, rename="camel"):
    """The answers about all keys, or a system error, which Gatekeeper does not remember.

    A key that is missing here is neither an answer nor an error to a policy.
    """

    idempotent: bool = True
    items: tuple[Item, ...] = ()
    system_error: str = ""


class ProviderResponse(Struct, frozen=True, rename="camel"):
    """An answer to Gatekeeper."""

    response: Answer
    api_version: str = API_VERSION
    kind: str = RESPONSE_KIND


class ImagesRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The question of any other policy engine: images as an object names them, and the rule whose policy counts.

    An unknown member is an error: with a misspelled ``rule``, another policy would count.
    """

    images: list[str]
    rule: str | None = None


class ImagesResponse(Struct, frozen=True):
    """The reports about images, in the order of the question."""

    images: list[ImageReport]
