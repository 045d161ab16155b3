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


class NoForm(forms.Form):
    pass


startable(form=CountForm, title="Count rows", name="count-rows")(tasks.import_rows)
startable(form=PathForm, title="Until cancelled", name="until-cancelled")(tasks.until_cancelled)
startable(form=NoForm, title="Staff only", name="for-staff", permission="status.stop_job")(tasks.add)
