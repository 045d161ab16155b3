from django import forms


class ImportForm(forms.Form):
    file = forms.FileField(help_text="A CSV file with a header.")
    skip_paid = forms.BooleanField(required=False)
