"""Form fields for what jobs are given."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

# What a form shows of what is wrong with so many files.
_MOST_ERRORS = 10


def focus_first_error(form: forms.BaseForm) -> None:
    """Have the browser put the focus on the first field that is wrong, when the form is shown with its errors."""
    for field in form.visible_fields():
        if field.errors:
            field.field.widget.attrs["autofocus"] = True
            return


class MultipleFileInput(forms.ClearableFileInput):
    """The browser's control for several files."""

    allow_multiple_selected = True


class MultipleFileField(forms.FileField):
    """Several files; `cleaned_data` holds a list of uploads, empty if none was required and none came.

    A startable's task gets the ids of their attachments as a list. Django refuses a request with more files
    than `DATA_UPLOAD_MAX_NUMBER_FILES` (100) before a form sees it; to take more, or to tell people in
    words, raise that setting.

    Args:
        max_files: so many may come at once.
        options: as for `forms.FileField`; what it checks, it checks for each file.

    Example:
        >>> class PhotosForm(forms.Form):
        ...     photos = MultipleFileField(max_files=20, max_length=200)
    """

    widget = MultipleFileInput
    default_error_messages = {
        "too_many": ngettext_lazy(
            "Choose at most %(limit)d file; these are %(count)d.",
            "Choose at most %(limit)d files; these are %(count)d.",
            "limit",
        ),
        "of_file": _("%(name)s: %(error)s"),
    }

    def __init__(self, *, max_files: int = 100, **options: Any) -> None:
        super().__init__(**options)
        self.max_files = max_files

    def clean(self, data: Any, initial: Any = None) -> list["UploadedFile[Any]"]:
        """The uploads, each as `forms.FileField` wants it.

        Raises:
            ValidationError: there is none though one is required, there are too many, or one of them is bad.
        """
        uploads = [
            upload for upload in (data if isinstance(data, Sequence) else [data]) if upload is not None
        ]
        if not uploads:
            super().clean(None)
            return []
        if len(uploads) > self.max_files:
            raise ValidationError(
                self.error_messages["too_many"],
                code="too_many",
                params={"limit": self.max_files, "count": len(uploads)},
            )
        return self._each(uploads)

    def _each(self, uploads: Sequence[Any]) -> list["UploadedFile[Any]"]:
        cleaned, errors = [], []
        for upload in uploads:
            try:
                cleaned.append(super().clean(upload))
            except ValidationError as error:
                errors.append(error if len(uploads) == 1 else self._of_file(upload, error))
        if errors:
            raise ValidationError(errors[:_MOST_ERRORS])
        return cleaned

    def _of_file(self, upload: Any, error: ValidationError) -> ValidationError:
        params = {"name": getattr(upload, "name", "?"), "error": " ".join(error.messages)}
        return ValidationError(self.error_messages["of_file"], code="of_file", params=params)
