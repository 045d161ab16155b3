"""Programs: their tokens, and a web server that has something to start."""

from collections.abc import Iterator

import pytest
from django.test import Client

from status.models import Token
from tests.processes import Web


@pytest.fixture(scope="session")
def program_web(tmp_path_factory, django_db_setup) -> Iterator[Web]:
    """A daphne with startables of the tests."""
    process = Web(tmp_path_factory.mktemp("programs") / "log", "tests.programs.asgi:application")
    yield process
    process.kill()


@pytest.fixture
def secret(alice) -> str:
    """Of a token of Alice's that may act."""
    return Token.make(alice, "tests", Token.Scope.ACT)[1]


def program_of(user, scope=Token.Scope.ACT) -> Client:
    """A client that shows a token of `user`."""
    return Client(headers={"Authorization": f"Bearer {Token.make(user, 'tests', scope)[1]}"})


@pytest.fixture
def program(alice) -> Client:
    """A program of Alice's, which may act."""
    return program_of(alice)


@pytest.fixture
def startables():
    """Those of the tests."""
    from status import registry
    from tests.programs import asgi

    assert asgi.application
    return registry.startables
