"""Notifications that Anchore posts to a webhook, in the shapes of all its releases.

Anchore Engine and Enterprise up to 5.x wrap a typed payload (``subsys/notifications.py``, and ``NotificationBase`` in
the specification of API v2); Enterprise's notification service posts one flat event.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError

IMAGE_TAG: Final = "image_tag"


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification; parts are empty where Anchore does not name them.

    ``id`` is the same for each attempt to deliver it. ``kind`` is the type of a subscription, such as ``policy_eval``,
    or of an event; ``account`` is the name of the account in Anchore.
    """

    id: str
    account: str
    kind: str
    resource_type: str
    resource: str


def _only_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _only_object(value: object) -> object:
    return value if isinstance(value, dict) else {}


_Text = Annotated[str, BeforeValidator(_only_text)]
"""Any value; empty unless it is a text. Releases differ, and parts that are not used must not matter."""
_Object = BeforeValidator(_only_object)
_Account = Annotated[_Text, Field(validation_alias=AliasChoices("account_name", "userId", "user_id"))]


class _Resource(BaseModel):
    account: _Account = ""
    type: _Text = ""
    id: _Text = ""


class _Event(BaseModel):
    type: _Text = ""
    resource: Annotated[_Resource, _Object] = _Resource()


class _Payload(_Event):
    account: _Account = ""
    id: Annotated[_Text, Field(validation_alias=AliasChoices("notification_id", "notificationId"))] = ""
    subscription_type: _Text = ""
    subscription_key: _Text = ""
    event: Annotated[_Event, _Object] = _Event()


class _Data(BaseModel):
    notification_type: _Text = ""
    notification_payload: Annotated[_Payload, _Object] = _Payload()


class _Envelope(_Event):
    account: _Account = ""
    id: Annotated[_Text, Field(validation_alias=AliasChoices("id", "data_id", "dataId"))] = ""
    data: Annotated[_Data, _Object] = _Data()


def read_notification(body: bytes | bytearray) -> Notification | None:
    """Read a notification of any shape; None if the body is no JSON object."""
    try:
        envelope = _Envelope.model_validate_json(body)
    except ValidationError:
        return None
    payload = envelope.data.notification_payload
    identity, account = payload.id or envelope.id, payload.account or envelope.account
    # An event stands alone, or in a notification about the event log.
    for event in (payload.event, payload, envelope):
        if event.type:
            found = event.resource
            return Notification(identity, found.account or account, event.type, found.type, found.id)
    # Subscriptions to changes of images are keyed by full tag.
    kind = payload.subscription_type or envelope.data.notification_type
    return Notification(
        identity, account, kind, IMAGE_TAG if payload.subscription_key else "", payload.subscription_key
    )
