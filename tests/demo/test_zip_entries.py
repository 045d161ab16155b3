import io
import struct
import zipfile

import pytest

from demo import zip_entries
from demo.zip_entries import BadArchive, entries_of, is_archive, read_entry
from tests.demo.images import archive, with_flags

TEXT = b"hello, hello, hello " * 50


def entries(data: bytes):
    return list(entries_of(io.BytesIO(data)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_each_file_is_read_without_the_directory(method):
    data = archive({"a.txt": TEXT, "b/": b"", "b/c.bin": b"\0" * 1000, "empty": b""}, method)
    found = entries(data)
    assert [(entry.name, entry.size) for entry in found] == [
        ("a.txt", len(TEXT)),
        ("b/c.bin", 1000),
        ("empty", 0),
    ]
    headless = io.BytesIO(data[: data.index(b"PK\x01\x02")])
    assert [read_entry(headless, entry.place) for entry in found] == [TEXT, b"\0" * 1000, b""]
    assert read_entry(headless, found[0].place, most=5) == b"hello"


def test_what_stands_before_the_archive_is_no_matter():
    data = b"#!/bin/sh\n" + archive({"a.txt": TEXT})
    (entry,) = entries(data)
    assert read_entry(io.BytesIO(data), entry.place) == TEXT


def test_it_is_told_by_its_first_bytes():
    assert is_archive(archive({"a": b""}))
    assert is_archive(archive({}))
    assert not is_archive(b"PKG")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_methods_are_named(method):
    data = archive({"a.txt": TEXT}, method)
    with pytest.raises(BadArchive, match=rf"unusual way \(method {method}\)"):
        read_entry(io.BytesIO(data), entries(data)[0].place)


@pytest.mark.parametrize("size", [len(TEXT) - 1, len(TEXT) + 1, 10])
def test_a_file_that_is_longer_or_shorter_than_it_says_is_damaged(size):
    data = archive({"a.txt": TEXT})
    offset, packed, _size, crc, method = entries(data)[0].place
    with pytest.raises(BadArchive, match="damaged in the archive"):
        read_entry(io.BytesIO(data), [offset, packed, size, crc, method])


def test_no_more_is_unpacked_than_it_says(monkeypatch):
    asked = []
    real = zip_entries._unpacked
    monkeypatch.setattr(
        zip_entries, "_unpacked", lambda data, method, most: asked.append(most) or real(data, method, most)
    )
    data = archive({"bomb": bytes(10_000_000)})
    offset, packed, _size, crc, method = entries(data)[0].place
    with pytest.raises(BadArchive):
        read_entry(io.BytesIO(data), [offset, packed, 100, crc, method])
    assert asked == [101]


def test_changed_bytes_are_noticed():
    data = bytearray(archive({"a.txt": TEXT}, zipfile.ZIP_STORED))
    (entry,) = entries(bytes(data))
    data[100] ^= 1
    with pytest.raises(BadArchive, match="damaged in the archive"):
        read_entry(io.BytesIO(bytes(data)), entry.place)
    data[0] ^= 1
    with pytest.raises(BadArchive, match="not where the archive says"):
        read_entry(io.BytesIO(bytes(data)), entry.place)


def test_no_valid_deflate_stream():
    data = archive({"a.txt": TEXT})
    start = data.index(b"a.txt") + 5
    broken = data[:start] + b"\xff" * 10 + data[start + 10 :]
    with pytest.raises(BadArchive, match="damaged in the archive"):
        read_entry(io.BytesIO(broken), entries(data)[0].place)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04 and no end", archive({"a": b"x"})[:-30], archive({"a": b"x"})[:-1]],
    ids=["empty", "no end", "cut", "cut by one byte"],
)
def test_a_damaged_archive(data):
    with pytest.raises(BadArchive, match="damaged"):
        entries(data)


def test_encrypted_files_are_noted():
    (entry,) = entries(with_flags(archive({"a.jpg": b"x"}), 0x1))
    assert entry.encrypted


def renamed(name: bytes, flags: int = 0) -> bytes:
    """An archive whose one file has this name, in bytes."""
    data = archive({"n" * len(name): TEXT}).replace(b"n" * len(name), name)
    return with_flags(data, flags)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Łódź.jpg".encode(), "Łódź.jpg"),
        ("é.jpg".encode("cp437"), "é.jpg"),
        ("写真.jpg".encode("shift_jis"), "Ä╩É^.jpg"),
    ],
    ids=["UTF-8 without saying so", "DOS", "something else"],
)
def test_names_in_other_encodings_are_read_somehow(name, read):
    (entry,) = entries(renamed(name))
    assert entry.name == read


def test_names_that_are_not_utf_8_though_they_say_so():
    with pytest.raises(BadArchive, match="names of its files are damaged"):
        entries(renamed(b"\xff\xfe.jpg", flags=0x800))


def test_too_many_files(monkeypatch):
    monkeypatch.setattr(zip_entries, "MAX_ENTRIES", 2)
    with pytest.raises(BadArchive, match="more files than the limit of 2"):
        entries(archive({"a": b"", "b": b"", "c": b""}))


def test_a_directory_of_gigabytes_is_refused_before_it_is_read():
    data = bytearray(archive({"a": b"x"}))
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<L", data, end + 12, 2**31)
    with pytest.raises(BadArchive, match="more files than the limit"):
        entries(bytes(data))


def test_a_directory_of_gigabytes_in_the_zip64_format_too():
    data = archive({"a": b"x"})
    end = data.rindex(b"PK\x05\x06")
    start = data.index(b"PK\x01\x02")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**40, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    tail = data[end : end + 12] + b"\xff" * 8 + data[end + 20 :]
    with pytest.raises(BadArchive, match="more files than the limit"):
        entries(data[:end] + record + locator + tail)
