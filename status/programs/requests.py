"""Starting a job as programs write it, in the body of a request or in a message of the socket."""

import re
from typing import Annotated, Any, TypeVar

import msgspec
from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from status.programs.refusals import Refused
from status.programs.wire import FieldError

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Key = Annotated[str, Meta(max_length=100, pattern="^[ -~]*$")]

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*?)`$")
_NAMED = re.compile(r"field `([^`]+)`")


T = TypeVar("T")


class StartRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be started."""

    job: Name
    """The name of a startable: the last part of the address of its form."""
    params: dict[str, Any] = {}
    """The data of its form, by field."""
    key: Key = ""
    """Printable ASCII. While a live job of yours has this key, it is answered and no other is started."""


def read(data: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """What `decoder` makes of JSON that a program sent.

    Raises:
        Refused: it is none, or not what is expected; names the field.
    """
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise misread(error) from error
    except UnicodeDecodeError as error:
        raise Refused.because_of("", _("It is not UTF-8.")) from error
    except RecursionError as error:
        raise Refused.because_of("", _("It is nested too deeply.")) from error


def misread(error: msgspec.MsgspecError) -> Refused:
    """The refusal of what msgspec could not decode, naming the field.

    >>> misread(msgspec.ValidationError("Expected `str`, got `int` - at `$.job`")).errors[0].field
    'job'
    """
    text = str(error)
    place = _PLACE.search(text)
    named = _NAMED.search(text)
    field = place[1] if place else ""
    if named is not None:
        field = f"{field}.{named[1]}".strip(".")
    detail = _PLACE.sub("", text)
    return Refused(
        "invalid", f"{field}: {detail}" if field else detail, [FieldError(field=field, detail=detail)]
    )
