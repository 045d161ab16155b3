"""What the demo's tasks ask for."""

from typing import IO, cast

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from demo.bad_csv import HEAD_BYTES, MAX_BYTES, BadCSV, refuse_size
from demo.csv_source import check_head
from demo.image_sources import MAX_IMAGES, BadUpload, Upload, plan_pictures
from demo.thumbnail_image import Format
from status.forms import MultipleFileField, MultipleFileInput

MAX_FILES = 100
MAX_UPLOAD_BYTES = 500 * 1024 * 1024

_ACCEPTED = "image/jpeg,image/png,image/gif,image/webp,image/tiff,image/bmp,image/avif,application/zip,.zip"


class ProfileCSVForm(forms.Form):
    """Asks for one file and refuses what its size and its first bytes already tell to be no CSV."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        help_text=format_lazy(
            gettext_lazy(
                "Up to {limit} MB. Encoding, delimiter and quotes are detected; the first row is the header."
            ),
            limit=MAX_BYTES // 1024**2,
        ),
        allow_empty_file=True,  # So that the message for it is ours.
        max_length=255,
    )

    def clean_file(self) -> "UploadedFile[bytes]":
        """The upload; neither its name nor its content type is trusted or required.

        Raises:
            ValidationError: it is empty, too large, of another format, or has no columns.
        """
        upload: UploadedFile[bytes] = self.cleaned_data["file"]
        _check_csv(upload)
        return upload


class ThumbnailsForm(forms.Form):
    """Asks for images, and tells before anything starts that there are none, or too many."""

    images = MultipleFileField(
        label=gettext_lazy("Images"),
        help_text=format_lazy(
            gettext_lazy(
                "Images and ZIP archives of images (JPEG, PNG, GIF, WebP, TIFF, BMP, AVIF): up to {files} files"
                " of {size} MB together, with up to {images} images in them."
            ),
            files=MAX_FILES,
            size=MAX_UPLOAD_BYTES // 1024**2,
            images=f"{MAX_IMAGES:,}",
        ),
        max_files=MAX_FILES,
        max_length=255,
        allow_empty_file=True,  # One of many: it fails alone.
        # A telephone that has HEIC converts it when it is told what can be read.
        widget=MultipleFileInput(attrs={"accept": _ACCEPTED}),
    )
    longest = forms.IntegerField(
        label=gettext_lazy("Longest side, in pixels"), min_value=16, max_value=1024, initial=256
    )
    image_format = forms.ChoiceField(
        label=gettext_lazy("Format"), choices=Format.choices, initial=Format.WEBP.value
    )

    def clean_images(self) -> "list[UploadedFile[bytes]]":
        """The uploads.

        Raises:
            ValidationError: they are too large together, or as `plan_pictures` says.
        """
        uploads: list[UploadedFile[bytes]] = self.cleaned_data["images"]
        size = sum(upload.size or 0 for upload in uploads)
        if size > MAX_UPLOAD_BYTES:
            raise ValidationError(
                _("These files have %(size)s together; the limit is %(limit)s."),
                params={"size": filesizeformat(size), "limit": filesizeformat(MAX_UPLOAD_BYTES)},
            )
        try:
            plan_pictures(map(_upload, uploads), "")
        except BadUpload as error:
            raise ValidationError(str(error), code="bad_upload") from error
        finally:
            for upload in uploads:
                upload.seek(0)
        return uploads


def _upload(upload: "UploadedFile[bytes]") -> Upload:
    return Upload("", str(upload.name), cast(IO[bytes], upload), upload.size or 0)


class MonthlyReportForm(forms.Form):
    """Asks for files of orders, and for their columns if they cannot be found."""

    orders = MultipleFileField(
        label=gettext_lazy("CSV files of orders"),
        help_text=format_lazy(
            gettext_lazy("Up to {files} files of {size} MB, one for each shop or month, say."),
            files=MAX_FILES,
            size=MAX_BYTES // 1024**2,
        ),
        max_files=MAX_FILES,
        max_length=255,
        allow_empty_file=True,  # So that the message for it is ours.
    )
    heading = forms.CharField(label=gettext_lazy("Heading"), max_length=100, required=False)
    date = forms.CharField(
        label=gettext_lazy("Column with the date"),
        help_text=gettext_lazy("What is left empty is found by what the columns hold and are called."),
        max_length=200,
        required=False,
    )
    amount = forms.CharField(label=gettext_lazy("Column with the amount"), max_length=200, required=False)
    group = forms.CharField(
        label=gettext_lazy("Column to group by"),
        help_text=gettext_lazy("The shop, for example. Without such a column each file is a group."),
        max_length=200,
        required=False,
    )

    def clean_orders(self) -> "list[UploadedFile[bytes]]":
        """The uploads.

        Raises:
            ValidationError: one is empty, too large, of another format, or has no columns.
        """
        uploads: list[UploadedFile[bytes]] = self.cleaned_data["orders"]
        errors = []
        for upload in uploads:
            try:
                _check_csv(upload)
            except ValidationError as error:
                errors.append(ValidationError(f"{upload.name}: {error.message}", code="bad_csv"))
        if errors:
            raise ValidationError(errors)
        return uploads


def _check_csv(upload: "UploadedFile[bytes]") -> None:
    """Refuse what its size and its first bytes tell to be no CSV file."""
    size = upload.size or 0
    try:
        refuse_size(size)
        upload.seek(0)
        head = upload.read(HEAD_BYTES)
        check_head(head, complete=len(head) == size)
    except BadCSV as error:
        raise ValidationError(str(error), code="bad_csv") from error
    finally:
        upload.seek(0)
