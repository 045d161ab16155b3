from io import BytesIO
from tempfile import TemporaryFile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile

from demo.forms import ProfileCSVForm


def submitted(upload: UploadedFile) -> ProfileCSVForm:
    return ProfileCSVForm({}, {"file": upload})


@pytest.mark.parametrize("name", ["people.csv", "people", "people.xlsx", "data.bin"])
def test_neither_name_nor_content_type_is_asked_for(name):
    form = submitted(SimpleUploadedFile(name, b"id;name\n1;Ada\n", content_type="application/octet-stream"))
    assert form.is_valid()
    assert form.cleaned_data["file"].name == name


def test_the_upload_is_left_at_its_beginning():
    form = submitted(SimpleUploadedFile("people.csv", b"id;name\n1;Ada\n"))
    assert form.is_valid()
    assert form.cleaned_data["file"].read() == b"id;name\n1;Ada\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty"),
        (b"\n \n", "only blank space"),
        (b",,\n", "no columns"),
        (
            b"PK\x03\x04....xl/workbook.xml",
            "This is an Excel workbook, not a CSV file; export it as CSV first.",
        ),
        (b"\x00\x01\x02", "binary"),
    ],
)
def test_bad_input_is_refused_with_a_clear_message(data, message):
    (error,) = submitted(SimpleUploadedFile("people.csv", data)).errors["file"]
    assert message in error


def test_a_file_of_300_megabytes_is_refused_without_being_read():
    with TemporaryFile() as stored:
        stored.truncate(300 * 1024 * 1024)
        upload = UploadedFile(stored, "people.csv", size=300 * 1024 * 1024)
        (error,) = submitted(upload).errors["file"]
        assert stored.tell() == 0
    assert "300.0\xa0MB" in error
    assert "200.0\xa0MB" in error


def test_only_the_head_is_read():
    class Counting(BytesIO):
        most = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.most = max(self.most, self.tell())
            return data

    stream = Counting(b"id,name\n" + b"1,Ada\n" * 100_000)
    assert submitted(UploadedFile(stream, "people.csv", size=len(stream.getvalue()))).is_valid()
    assert stream.most == 64 * 1024


def test_a_file_is_required():
    assert ProfileCSVForm({}, {}).errors["file"] == ["This field is required."]


def test_the_limit_is_told_beforehand():
    assert "Up to 200 MB." in str(ProfileCSVForm()["file"].help_text)
