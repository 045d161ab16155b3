"""Numbers, lists and counts in the language of who reads."""

from datetime import timedelta

import pytest
from celery import schedules
from django.utils.translation import override

from status.findings import Finding, Kind
from status.schedules.words import in_words
from status.spelling import enumerated, figure


@pytest.mark.parametrize(("language", "text"), [("en", "a, b, c"), ("de", "a, b, c"), ("ar", "a، b، c")])
def test_a_list_has_the_commas_of_its_language(language, text):
    with override(language):
        assert enumerated(["a", "b", "c"]) == text


@pytest.mark.parametrize(("language", "text"), [("en", "2.5"), ("de", "2,5"), ("ar", "2,5")])
def test_a_number_has_the_decimal_sign_of_its_language(language, text):
    with override(language):
        assert figure(2.50) == text
        assert figure(30.0) == "30"


def test_a_schedule_is_told_with_both():
    with override("ar"):
        assert in_words(schedules.crontab(minute="30", hour="2,14")) == "الساعة 02:30، 14:30"
    with override("de"):
        assert in_words(schedules.schedule(timedelta(seconds=2.5))) == "Alle 2,5 Sekunden"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "الطابور mail متوقف مؤقتًا منذ 5 د، ولا شيء في الانتظار"),
        (1, "الطابور mail متوقف مؤقتًا منذ 5 د، ومهمة واحدة في الانتظار"),
        (2, "الطابور mail متوقف مؤقتًا منذ 5 د، ومهمتان في الانتظار"),
        (3, "الطابور mail متوقف مؤقتًا منذ 5 د، و3 مهام في الانتظار"),
        (11, "الطابور mail متوقف مؤقتًا منذ 5 د، و11 مهمة في الانتظار"),
    ],
)
def test_a_finding_is_one_sentence_with_its_count(count, text):
    with override("ar"):
        assert Finding(kind=Kind.PAUSED, name="mail", count=count, seconds=300).text == text
