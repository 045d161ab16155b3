"""Why a program is not served, for both ways in which it asks."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from status.programs.wire import Code, FieldError, Problem

STATUS: Final[dict[Code, HTTPStatus]] = {
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not-found": HTTPStatus.NOT_FOUND,
    "not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "conflict": HTTPStatus.CONFLICT,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too-fast": HTTPStatus.TOO_MANY_REQUESTS,
    "failed": HTTPStatus.SERVICE_UNAVAILABLE,
}


class Refused(Exception):
    """A program is not served; the words say what to do."""

    def __init__(self, code: Code, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code: Code = code
        self.detail = detail
        self.errors = list(errors)

    @classmethod
    def because_of(cls, field: str, detail: str) -> "Refused":
        """One field is wrong.

        Example:
            >>> raise Refused.because_of("limit", "A number from 1 to 100.")
        """
        return cls(
            "invalid", f"{field}: {detail}" if field else detail, [FieldError(field=field, detail=detail)]
        )

    @property
    def problem(self) -> Problem:
        """As the body of an HTTP answer (RFC 9457)."""
        status = STATUS[self.code]
        return Problem(
            title=status.phrase, status=status.value, detail=self.detail, code=self.code, errors=self.errors
        )
