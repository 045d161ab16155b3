"""Every string that people read has a translation into each language, with the same placeholders."""

import re
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from django.apps import apps

from config import catalogs

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z%]")
ALL = [(app, language) for app in catalogs.SOURCES for language in catalogs.LANGUAGES]


def key(message):
    return message.id if isinstance(message.id, str) else message.id[0], message.context


def test_people_can_choose_each_language_that_there_is(settings):
    assert [code for code, _name in settings.LANGUAGES] == ["en", *catalogs.LANGUAGES]


@pytest.mark.parametrize(("app", "language"), ALL)
def test_a_catalog_has_what_the_code_says_and_nothing_else(app, language):
    wanted = {key(message) for message in catalogs.template_of(app) if message.id}
    there = {key(message) for message in catalogs.read(app, language) if message.id}
    assert wanted - there == set(), "run: make messages"
    assert there - wanted == set(), "run: make messages"


@pytest.mark.parametrize(("app", "language"), ALL)
def test_everything_is_translated(app, language):
    catalog = catalogs.read(app, language)
    for message in catalog:
        texts = [message.string] if isinstance(message.string, str) else message.string
        assert not message.fuzzy, message.id
        assert all(texts), message.id
        assert not message.pluralizable or len(texts) == catalog.num_plurals, message.id


@pytest.mark.parametrize(("app", "language"), ALL)
def test_translations_have_the_placeholders_of_what_they_translate(app, language):
    for message in catalogs.read(app, language):
        if not message.id or not (message.python_format or "%" in str(message.id)):
            continue
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        texts = [message.string] if isinstance(message.string, str) else message.string
        wanted = set(PLACEHOLDER.findall(ids[-1]))
        for place, text in enumerate(texts):
            found = set(PLACEHOLDER.findall(text))
            # A form for exactly one or two need not say the number.
            is_one_number = message.pluralizable and place < len(texts) - 1
            assert found <= wanted if is_one_number else found == wanted, (message.id, text)


@pytest.mark.parametrize("language", catalogs.LANGUAGES)
def test_no_app_that_stands_before_ours_says_the_same_otherwise(language):
    """Django merges all catalogs, and the first app wins: what it says otherwise needs a context."""
    before = {}
    for config in apps.get_app_configs():
        own = {key(message): message.string for message in _said_by(config, language)}
        if config.label in catalogs.SOURCES:
            assert {text: own[text] for text in own.keys() & before.keys() if own[text] != before[text]} == {}
        before = own | before


def _said_by(config, language):
    if config.label in catalogs.SOURCES:
        return [message for message in catalogs.read(config.label, language) if message.id]
    path = Path(config.path) / "locale" / language / "LC_MESSAGES" / "django.mo"
    if not path.exists():
        return []
    with path.open("rb") as file:
        return [message for message in read_mo(file) if message.id]
