from django import forms
from status.forms import MultipleFileField


class ImportForm(forms.Form):
    file = forms.FileField(help_text="A CSV file with a header.")
    skip_paid = forms.BooleanField(required=False)


class ImportManyForm(forms.Form):
    files = MultipleFileField(max_files=50)
