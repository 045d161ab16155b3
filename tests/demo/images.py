"""Images and archives for the tests, made by Pillow and zipfile."""

import io
import zipfile

from PIL import Image

from demo.image_sources import Upload


def image(mode="RGB", size=(40, 20), colour=None, *, kind="PNG", **options) -> bytes:
    """The bytes of an image file of one colour."""
    return saved(Image.new(mode, size, 0 if colour is None else colour), kind, **options)


def saved(picture: Image.Image, kind="PNG", **options) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def halves(mode="RGB", size=(40, 20), left="red", right="blue") -> Image.Image:
    """Its left half has another colour than its right one, so that it is seen how it was turned."""
    picture = Image.new(mode, size, right)
    picture.paste(Image.new(mode, (size[0] // 2, size[1]), left), (0, 0))
    return picture


def archive(files: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return content.getvalue()


def with_flags(data: bytes, flags: int) -> bytes:
    """An archive with these bits set for each of its files, in both places where they are said."""
    changed = bytearray(data)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        found = changed.find(mark)
        while found >= 0:
            changed[found + at] |= flags & 0xFF
            changed[found + at + 1] |= flags >> 8
            found = changed.find(mark, found + 4)
    return bytes(changed)


def uploaded(name: str, data: bytes, pk: str = "id") -> Upload:
    return Upload(pk, name, io.BytesIO(data), len(data))
