"""The project with tasks of the tests that programs may start."""

from django import forms

from config.asgi import application
from status.registry import startable
from tests import tasks

__all__ = ["application"]


class CountForm(forms.Form):
    count = forms.IntegerField(min_value=1, max_value=1000)
    gate = forms.CharField(required=False)


class PathForm(forms.Form):
    cleanup_path = forms.CharField()


class SpanForm(forms.Form):
    first = forms.IntegerField(label="First row")
    last = forms.IntegerField(label="Last row", help_text="Counted as well.")
    columns = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B"), ("c", "C")], required=False)

    def clean_last(self):
        if self.cleaned_data["last"] < self.cleaned_data.get("first", 0):
            raise forms.ValidationError("The last comes before the first.")
        return self.cleaned_data["last"]


def count_span(first, last, columns):
    if last - first > 1000:
        raise forms.ValidationError("More than a thousand rows.")
    return tasks.import_rows.s(last - first + 1)


class NoForm(forms.Form):
    pass


startable(form=CountForm, title="Count rows", name="count-rows")(tasks.import_rows)
startable(form=PathForm, title="Until cancelled", name="until-cancelled")(tasks.until_cancelled)
startable(form=SpanForm, title="Count a span", name="count-span")(count_span)
startable(form=NoForm, title="Staff only", name="for-staff", permission="status.stop_job")(tasks.ignored)
