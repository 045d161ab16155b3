"""One image made small: whatever its orientation, colours, transparency and frames."""

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from PIL import (  # The plugins register themselves.
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    ExifTags,
    GifImagePlugin,  # noqa: F401
    Image,
    ImageCms,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

# Not all that Pillow knows: for EPS, say, it would call another program.
READABLE = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")

_QUALITY = 82
_WHITE = (255, 255, 255, 255)
# What Pillow raises for damaged files of the formats above, beside what says so.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is turned upright, by the value of its EXIF orientation."""
_SIDEWAYS = {
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
}
# What Pillow calls gray with more than 8 bits.
_DEEP_GRAY = ("I", "F")
_DEEP_GRAY_16 = "I;16"


class BadImage(ValueError):
    """An image that cannot be made small; its message says in one sentence what is wrong."""


class Format(models.TextChoices):
    """What thumbnails are written as."""

    JPEG = "jpeg", gettext_lazy("JPEG: transparency becomes white")
    PNG = "png", gettext_lazy("PNG: lossless, larger files")
    WEBP = "webp", gettext_lazy("WebP: keeps transparency, small files")

    @property
    def extension(self) -> str:
        """How the names of such files end, with the point."""
        return ".jpg" if self is Format.JPEG else f".{self.value}"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small image, and how large the image was."""

    content: bytes
    size: tuple[int, int]
    """Its width and height in pixels."""
    original: tuple[int, int]
    """Those of the image, as it is looked at."""


def make_thumbnail(stream: IO[bytes], longest: int, target: Format) -> Thumbnail:
    """Make one image small; it is turned upright, in sRGB, without any metadata; of an animation the first frame.

    Args:
        stream: the file, at its beginning; its format is told by its content.
        longest: of the thumbnail's sides, in pixels; an image that is smaller keeps its size.
        target: what to write.

    Raises:
        BadImage: this is no image, it is damaged, or has more than `Image.MAX_IMAGE_PIXELS` pixels.

    Example:
        >>> make_thumbnail(open("photo.jpg", "rb"), 256, Format.WEBP).size
        (256, 171)
    """
    try:
        with Image.open(stream, formats=READABLE) as image:
            _refuse_bomb(image)
            return _made(image, longest, target)
    except _TOO_LARGE:
        raise _too_many_pixels() from None
    except UnidentifiedImageError:
        raise BadImage(_("This is no image of a kind that can be read.")) from None
    except BadImage:
        raise
    except _DAMAGE as error:
        raise BadImage(_("The image is damaged: %(error)s.") % {"error": str(error).rstrip(".")}) from error


def _made(image: Image.Image, longest: int, target: Format) -> Thumbnail:
    declared, profile = image.size, image.info.get("icc_profile")
    # A JPEG file is read at an eighth of its size if that is enough.
    image.draft(None, (2 * longest, 2 * longest))
    small = _plain(image)
    # Looked for only now: some formats turn the image when it is loaded, and forget that it lay on its side.
    turn = _turn(image)
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    small = _in_srgb(small, profile)
    if turn is not None:
        small = small.transpose(turn)
    original = (declared[1], declared[0]) if turn in _SIDEWAYS else declared
    return Thumbnail(content=_written(small, target), size=small.size, original=original)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the loaded image upright; what cannot be read turns nothing."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return None


def _refuse_bomb(image: Image.Image) -> None:
    """Before a pixel is decoded."""
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise _too_many_pixels()


def _too_many_pixels() -> BadImage:
    most = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
    return BadImage(_("The image has too many pixels; the limit is %(most).0f million.") % {"most": most})


def _plain(image: Image.Image) -> Image.Image:
    """The first frame with 8 bits a channel, in a mode that can be resized well; alpha only if it is needed."""
    image.seek(0)
    image.load()
    if image.mode.startswith(_DEEP_GRAY_16):
        return image.point(lambda value: value / 256).convert("L")
    if image.mode in _DEEP_GRAY:
        return _stretched(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image.copy() if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Gray of unknown range, from its darkest to its brightest."""
    low, high = image.getextrema()
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low == high:
        return image.convert("L")
    scale = 255 / (high - low)
    return image.point(lambda value: value * scale + -low * scale).convert("L")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """With the colours that the profile means; a profile that does not fit is left aside, as browsers do."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if profile and image.mode != "L":
        colours = image.convert("RGB") if alpha else image
        with suppress(ImageCms.PyCMSError, *_DAMAGE):
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                colours, given, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                image = converted
                if alpha:
                    image.putalpha(alpha)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _written(image: Image.Image, target: Format) -> bytes:
    # Metadata, a place say, would go into the file with it.
    image.info = {}
    content = io.BytesIO()
    if target is Format.JPEG:
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
        image.save(content, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
    elif target is Format.PNG:
        image.save(content, "PNG", optimize=True)
    else:
        image.save(content, "WEBP", quality=_QUALITY, method=4)
    return content.getvalue()
