import io
import zipfile

import pytest

from demo.bad_csv import MAX_BYTES, BadCSV, refuse_foreign, refuse_size


def zipped(name: str) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(name, "x" * 100)
    return stored.getvalue()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (zipped("xl/workbook.xml"), "an Excel workbook, not a CSV file; export it as CSV first"),
        (zipped("[Content_Types].xml"), "an Excel workbook or another Office document"),
        (zipped("word/document.xml"), "a Word document"),
        (
            b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "an OpenDocument spreadsheet",
        ),
        (zipped("data.csv"), "a ZIP archive, not a CSV file; unpack it first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an Excel workbook"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"\x1f\x8b\x08\x00\x00", "a gzip archive, not a CSV file; unpack it first"),
        (b"\x28\xb5\x2f\xfd\x04", "a Zstandard archive"),
        (b"SQLite format 3\x00", "an SQLite database"),
        (b"\x89PNG\r\n\x1a\n\x00", "a PNG image"),
        (b"PAR1\x15\x04\x15", "a Parquet file"),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<html>", "a web page (HTML)"),
        (b"\n<html lang='en'>", "a web page (HTML)"),
        (b'<?xml version="1.0"?>', "an XML document"),
        (b'[\n  {"id": 1, "name": "Ada"}\n]', "a JSON document"),
        (b'{"id": 1}\n{"id": 2}\n', "a JSON document"),
        (b"name,age\nAda\x00,36\n", "binary"),
        (bytes(range(1, 32)) * 4, "binary"),
        (b"", "is empty"),
    ],
)
def test_foreign_input_is_named(head, message):
    with pytest.raises(BadCSV) as caught:
        refuse_foreign(head)
    assert message in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "head",
    [
        b"name,age\nAda,36\n",
        b"PKZIP,version\n1,2\n",
        b"%PDF,pages\n",
        b"GIF8,PNG\n1,2\n",
        b"a\tb\x0c\n1\t2\n",
        '"größe";"alter"\n'.encode("cp1252"),
        "name,age\n".encode("utf-16"),
        "name,age\n".encode("utf-32"),
        b'id,json\n1,"{""a"": 1}"\n',
    ],
)
def test_text_passes(head):
    assert refuse_foreign(head) is None


def test_sizes():
    assert refuse_size(1) is None
    assert refuse_size(MAX_BYTES) is None
    with pytest.raises(BadCSV, match="is empty"):
        refuse_size(0)


def test_a_size_beyond_the_limit_is_told_with_the_limit():
    with pytest.raises(BadCSV) as caught:
        refuse_size(300 * 1024 * 1024)
    assert "300.0\xa0MB" in str(caught.value)
    assert "200.0\xa0MB" in str(caught.value)
