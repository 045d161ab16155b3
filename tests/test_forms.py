from functools import partial

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils.datastructures import MultiValueDict

from status.forms import MultipleFileField


def form_with(**options) -> type[forms.Form]:
    return type("PhotosForm", (forms.Form,), {"photos": MultipleFileField(**options)})


def posted(*uploads, **options) -> forms.Form:
    return form_with(**options)({}, MultiValueDict({"photos": list(uploads)} if uploads else {}))


def upload(name="a.jpg", content=b"x"):
    return SimpleUploadedFile(name, content)


def test_the_cleaned_value_is_a_list_in_the_order_of_the_request():
    form = posted(upload("b.jpg"), upload("a.jpg"))
    assert form.is_valid()
    assert [photo.name for photo in form.cleaned_data["photos"]] == ["b.jpg", "a.jpg"]


def test_one_file_is_a_list_as_well():
    form = posted(upload())
    assert form.is_valid()
    assert len(form.cleaned_data["photos"]) == 1


def test_none_is_refused_if_one_is_required_and_an_empty_list_if_not():
    assert posted().errors["photos"] == ["This field is required."]
    form = posted(required=False)
    assert form.is_valid()
    assert form.cleaned_data["photos"] == []


def test_the_browser_offers_several():
    assert "multiple" in str(form_with()()["photos"])


def test_too_many_are_counted():
    form = posted(*(upload(f"{number}.jpg") for number in range(4)), max_files=3)
    assert form.errors["photos"] == ["Choose at most 3 files; these are 4."]


def test_what_is_wrong_with_one_of_several_names_it():
    form = posted(upload("good.jpg"), upload("empty.jpg", b""), upload("long" * 30 + ".jpg"), max_length=50)
    first, second = form.errors["photos"]
    assert first == "empty.jpg: The submitted file is empty."
    assert second.startswith("longlong")


def test_only_the_first_errors_are_told():
    form = posted(*(upload(f"{number}.jpg", b"") for number in range(30)))
    assert len(form.errors["photos"]) == 10


def test_validators_see_each_file():
    def refuse(bad, photo):
        if photo.name == bad:
            raise ValidationError("not this one")

    form = posted(upload("a.jpg"), upload("b.jpg"), validators=[partial(refuse, "b.jpg")])
    assert form.errors["photos"] == ["b.jpg: not this one"]
