from pathlib import Path

import pytest
import redis

from config import valkey
from config.valkey import Valkey, ValkeyError


def test_a_persistent_server_keeps_what_it_holds(tmp_path: Path) -> None:
    with Valkey(tmp_path, persistent=True) as server, redis.Redis.from_url(server.url) as client:
        client.set("queued", "work")
    with Valkey(tmp_path, persistent=True) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("queued") == b"work"


def test_has_ended_after_the_block(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server:
        assert not server.ended
    assert server.ended


def test_says_where_to_look_when_it_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "get_binary_path", lambda: Path("/bin/false"))
    with pytest.raises(ValkeyError, match=r"valkey\.log"), Valkey(tmp_path):
        pass
