"""The description of the socket of programs (AsyncAPI 3.0), made from the types that are used to read and write."""

from functools import cache
from typing import Any, Final, get_args

import msgspec

from status.programs import messages
from status.programs.messages import Inbound, Outbound

Schema = dict[str, Any]

ADDRESS: Final = "/ws/jobs/"

# What answers what; each may be answered by an error as well.
ANSWERS: Final[dict[type[Any], type[Any]]] = {
    messages.Start: messages.Accepted,
    messages.Watch: messages.Watching,
    messages.Unwatch: messages.Unwatched,
    messages.Cancel: messages.Accepted,
    messages.Retry: messages.Accepted,
    messages.List: messages.Jobs,
    messages.Ping: messages.Pong,
}


@cache
def asyncapi() -> Schema:
    """The document.

    Example:
        >>> asyncapi()["asyncapi"]
        '3.0.0'
    """
    inbound, outbound = list(get_args(Inbound)), list(get_args(Outbound))
    _refs, schemas = msgspec.json.schema_components(
        [*inbound, *outbound], ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Jobs over a WebSocket",
            "version": str(messages.VERSION),
            "description": (
                "One JSON object a text message. Show a personal token as `Authorization: Bearer …`, or the cookie of "
                "a session with an Origin that the server knows. Close codes: 4401 when nobody is known, or the token "
                "or session has ended; 1011 to come again. New fields may come in what the server sends."
            ),
        },
        "channels": {
            "jobs": {
                "address": ADDRESS,
                "messages": {
                    _name(kind): {"$ref": f"#/components/messages/{_name(kind)}"}
                    for kind in [*inbound, *outbound]
                },
            }
        },
        "operations": {
            **{_name(kind): _asked(kind) for kind in inbound},
            **{
                _name(kind): _told(kind)
                for kind in (messages.Hello, messages.Moved, messages.Log, messages.Error)
            },
        },
        "components": {
            "messages": {_name(kind): _message(kind) for kind in [*inbound, *outbound]},
            "schemas": schemas,
        },
    }


def _asked(kind: type[Any]) -> Schema:
    reply = {
        "channel": {"$ref": "#/channels/jobs"},
        "messages": [_in_channel(ANSWERS[kind]), _in_channel(messages.Error)],
    }
    return {**_operation(kind, "receive"), "reply": reply}


def _told(kind: type[Any]) -> Schema:
    return _operation(kind, "send")


def _operation(kind: type[Any], action: str) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/jobs"},
        "summary": _summary(kind),
        "messages": [_in_channel(kind)],
    }


def _message(kind: type[Any]) -> Schema:
    return {
        "name": _name(kind),
        "summary": _summary(kind),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def _in_channel(kind: type[Any]) -> Schema:
    return {"$ref": f"#/channels/jobs/messages/{_name(kind)}"}


def _name(kind: type[Any]) -> str:
    """The message's `type`."""
    return str(kind.__struct_config__.tag)


def _summary(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip()
