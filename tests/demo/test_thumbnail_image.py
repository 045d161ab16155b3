import io
import struct
import zlib

import pytest
from PIL import ExifTags, Image, ImageCms

from demo.thumbnail_image import BadImage, Format, make_thumbnail
from tests.demo.images import halves, image, saved

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def made(data: bytes, longest=10, target=Format.PNG) -> Image.Image:
    return Image.open(io.BytesIO(make_thumbnail(io.BytesIO(data), longest, target).content))


def close(pixel, colour, most=12) -> bool:
    return all(abs(a - b) <= most for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("target", Format)
def test_any_kind_becomes_any_other(kind, target):
    thumbnail = make_thumbnail(io.BytesIO(saved(halves(), kind)), 10, target)
    picture = Image.open(io.BytesIO(thumbnail.content))
    assert picture.format == target.name
    assert (picture.size, thumbnail.size, thumbnail.original) == ((10, 5), (10, 5), (40, 20))
    assert close(picture.convert("RGB").getpixel((1, 2)), RED, 40)
    assert close(picture.convert("RGB").getpixel((8, 2)), BLUE, 40)


def test_a_small_image_keeps_its_size():
    assert made(image(size=(8, 3)), longest=64).size == (8, 3)


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
def test_a_line_does_not_vanish(size):
    assert min(made(image(size=size), longest=16).size) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright_once(kind, orientation):
    # As a camera would have written the upright picture, red at its left.
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = halves(size=(400, 200)) if turn is None else halves(size=(400, 200)).transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    thumbnail = make_thumbnail(io.BytesIO(saved(stored, kind, exif=exif)), 40, Format.PNG)
    picture = Image.open(io.BytesIO(thumbnail.content))
    assert (thumbnail.original, picture.size) == ((400, 200), (40, 20))
    assert close(picture.getpixel((5, 10)), RED)
    assert close(picture.getpixel((35, 10)), BLUE)


@pytest.mark.parametrize("target", Format)
def test_no_metadata_is_kept(target):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "A camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    picture = made(image(kind="JPEG", exif=exif, comment=b"private"), target=target)
    assert not picture.getexif()
    assert not {"exif", "comment", "icc_profile", "xmp"} & set(picture.info)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_metadata_do_no_harm():
    assert made(image(kind="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).size == (10, 5)


@pytest.mark.parametrize("target", [Format.PNG, Format.WEBP])
def test_transparency_is_kept(target):
    picture = made(image("RGBA", colour=(255, 0, 0, 0)), target=target)
    assert picture.mode == "RGBA"
    assert picture.getpixel((2, 2))[3] == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white_in_a_jpeg(mode):
    see_through = Image.new("RGBA", (40, 20), (255, 0, 0, 0))
    options = {"transparency": 0} if mode == "P" else {}
    stored = Image.new("P", (40, 20), 0) if mode == "P" else see_through.convert(mode)
    picture = made(saved(stored, "PNG", **options), target=Format.JPEG)
    assert picture.mode == "RGB"
    assert close(picture.getpixel((2, 2)), WHITE)


def test_colour_does_not_bleed_in_from_what_is_transparent():
    stored = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    stored.paste((255, 0, 0, 255), (0, 0, 21, 40))
    *colour, alpha = made(saved(stored), longest=4).getpixel((2, 2))
    assert close(colour, RED)
    assert 0 < alpha < 255


def test_opaque_colours_of_a_palette_make_no_alpha():
    assert made(saved(halves().quantize(), "GIF")).mode == "RGB"


def test_cmyk_is_not_inverted():
    red = Image.new("CMYK", (40, 20), (0, 255, 255, 0))
    assert close(made(saved(red, "JPEG")).getpixel((3, 3)), RED, 30)
    assert close(made(saved(red, "TIFF")).getpixel((3, 3)), RED, 30)


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (40, 20), colour) for colour in ("red", "blue", "green")]
    for kind in ("GIF", "PNG", "WEBP"):
        picture = made(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
        assert getattr(picture, "n_frames", 1) == 1
        assert close(picture.convert("RGB").getpixel((3, 3)), RED)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_gray_is_no_white_sheet(mode):
    stored = Image.new(mode, (40, 20), 0)
    for x in range(20, 40):
        for y in range(20):
            stored.putpixel((x, y), 65535)
    picture = made(saved(stored, "TIFF"))
    assert picture.mode == "L"
    assert (picture.getpixel((1, 2)), picture.getpixel((8, 2))) == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_stays_gray(mode):
    assert made(saved(Image.new(mode, (40, 20), 1))).mode == "L"


def test_colours_are_those_that_the_profile_means():
    # A profile whose red and blue are swapped, made of sRGB's own.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.find(b"rXYZ", 128), profile.find(b"bXYZ", 128)
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for mode in ("RGB", "RGBA"):
        stored = Image.new("RGB", (40, 20), "red").convert(mode)
        picture = made(saved(stored, "PNG", icc_profile=bytes(profile)))
        assert picture.mode == mode
        assert picture.getpixel((3, 3))[2] > 200 > picture.getpixel((3, 3))[0]


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 128])
def test_a_profile_that_does_not_fit_is_left_aside(profile):
    assert close(made(image(colour="red", icc_profile=profile)).getpixel((3, 3)), RED)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG file that says it has so many pixels, and has none."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"")
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 13_000, 50_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(side):
    with pytest.raises(BadImage, match="too many pixels; the limit is 89 million"):
        made(png_claiming(side, side))


def test_the_limit_is_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 799)
    with pytest.raises(BadImage, match="too many pixels"):
        made(image(size=(40, 20)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert made(image(size=(40, 20))).size == (10, 5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_truncated_image_is_damaged(kind):
    data = saved(Image.effect_noise((200, 200), 90).convert("RGB"), kind)
    with pytest.raises(BadImage, match=r"damaged|no image") as raised:
        made(data[: len(data) // 2])
    assert str(raised.value).endswith(".")
    assert not str(raised.value).endswith("..")


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0", b"<svg/>"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(BadImage):
        made(data)
