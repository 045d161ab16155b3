"""What the demo's tasks ask for."""

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from demo.bad_csv import HEAD_BYTES, MAX_BYTES, BadCSV, refuse_size
from demo.csv_source import check_head


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
        return upload
