"""The parser of what programs send: whatever comes, it is a message or a refusal that names the field."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from status.programs.messages import Inbound, Ping, Ref, Start, Watch, parse, ref_of
from status.programs.refusals import Refused

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
types = st.sampled_from(["start", "watch", "unwatch", "cancel", "retry", "list", "ping"])
fields = st.dictionaries(
    st.sampled_from(["ref", "job", "params", "key", "id", "since", "state", "after", "limit", "x"]),
    json_values,
)
keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100)
refs = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text()
plain = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8), st.text(st.characters(codec="utf-8")), max_size=4
)


def outcome(text):
    """The message, or the refusal; anything else is a fault of the parser."""
    try:
        return parse(text)
    except Refused as error:
        refused = error
    assert refused.code == "invalid"
    assert refused.detail
    assert len(refused.errors) == 1
    # What is refused can be sent back, whatever it was.
    assert msgspec.json.encode(refused.problem)
    return refused


@given(st.text() | st.text(st.characters(exclude_categories=())))
def test_any_text_is_a_message_or_a_refusal(text):
    assert isinstance(outcome(text), Inbound | Refused)
    assert isinstance(ref_of(text), Ref)


@given(json_values)
def test_any_json_is_a_message_or_a_refusal(value):
    assert isinstance(outcome(json.dumps(value)), Inbound | Refused)


@given(types, fields)
def test_any_object_of_a_known_type_is_a_message_or_a_refusal_of_one_of_its_fields(kind, given_fields):
    found = outcome(json.dumps({"type": kind, **given_fields}))
    if isinstance(found, Refused):
        [error] = found.errors
        # One of those that came, or one that is missing.
        assert error.field.partition(".")[0].partition("[")[0] in {*given_fields, "job", "id"}
    else:
        assert set(given_fields) <= set(found.__struct_fields__)


@given(st.text(min_size=1, max_size=100), plain, keys, refs)
def test_what_is_right_comes_through_unchanged(job, params, key, ref):
    sent = Start(job=job.encode("utf-8", "replace").decode(), params=params, key=key, ref=_sendable(ref))
    assert parse(msgspec.json.encode(sent).decode()) == sent


def _sendable(ref):
    return ref.encode("utf-8", "replace").decode() if isinstance(ref, str) else ref


@given(st.uuids(), refs)
def test_the_ref_of_a_wrong_message_is_found(job_id, ref):
    ref = _sendable(ref)
    assert ref_of(json.dumps({"type": "dance", "id": str(job_id), "ref": ref})) == ref
    text = json.dumps({"type": "watch", "id": str(job_id), "ref": ref})
    assert parse(text) == Watch(id=job_id, ref=ref)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("{", ""),
        ("[]", ""),
        ("null", ""),
        ("{}", "type"),
        ('{"type": 3}', "type"),
        ('{"type": "start"}', "job"),
        ('{"type": "start", "job": ""}', "job"),
        ('{"type": "start", "job": "a", "params": 3}', "params"),
        ('{"type": "start", "job": "a", "key": "\\u0000"}', "key"),
        ('{"type": "watch", "id": "1"}', "id"),
        ('{"type": "list", "state": ["gone"]}', "state[0]"),
        ('{"type": "ping", "ref": {}}', "ref"),
        ("[" * 60_000, ""),
        ('{"type": "start", "job": "a", "params": {"a":' + "[" * 60_000, ""),
        ('{"type": "ping", "ref": "\ud800"}', ""),
    ],
)
def test_the_wrong_field_is_named(text, field):
    refused = outcome(text)
    assert isinstance(refused, Refused), refused
    assert refused.errors[0].field == field


def test_the_last_of_two_equal_names_counts():
    assert parse('{"type": "ping", "ref": 1, "ref": 2}') == Ping(ref=2)
