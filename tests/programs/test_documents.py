"""The published descriptions are those of the code."""

import ast
import re
from typing import get_args

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from django.urls import get_resolver
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from status.models import Job
from status.programs import asyncapi, consumer, messages, openapi, wire
from status.programs.messages import Inbound, Outbound
from tests.processes import PROJECT

METHODS = {"get", "post"}


def refs(value):
    """All that a document refers to."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "$ref" else refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def resolve(document, ref):
    for part in ref.removeprefix("#/").split("/"):
        document = document[part]
    return document


@pytest.mark.parametrize("document", [openapi.openapi, asyncapi.asyncapi])
def test_what_a_document_refers_to_is_in_it(document):
    found = document()
    targets = list(refs(found))
    assert len(targets) > 10
    for ref in targets:
        assert resolve(found, ref)


def test_both_are_published_to_everybody(client, db):
    for path, version in (("/api/openapi.json", "openapi"), ("/api/asyncapi.json", "asyncapi")):
        response = client.get(path)
        assert response["Content-Type"] == "application/json"
        assert version in response.json()
    assert client.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]


# -- HTTP ------------------------------------------------------------------------------------------------------


def test_every_address_is_described_and_no_other():
    patterns = get_resolver("status.programs.urls").url_patterns
    routes = {"/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern)) for pattern in patterns}
    assert routes - {"/openapi.json", "/asyncapi.json"} == set(openapi.openapi()["paths"])


def test_every_method_is_described_and_no_other(program, db):
    for path, described in openapi.openapi()["paths"].items():
        address = "/api" + re.sub(r"{\w+}", "00000000-0000-0000-0000-000000000000", path)
        for method in ("get", "post", "put", "patch", "delete"):
            allowed = program.generic(method.upper(), address).status_code != 405
            assert allowed == (method in described), (method, path)


def test_every_parameter_that_is_read_is_described():
    source = (PROJECT / "status" / "programs" / "views.py").read_text()
    read = set(re.findall(r"""(?:GET\.get(?:list)?\(|number\(request, )"(\w+)\"""", source))
    described = {
        parameter["name"]
        for path in openapi.openapi()["paths"].values()
        for operation in path.values()
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    }
    assert read == described


def test_every_refusal_has_a_status_and_every_code_is_known():
    from status.programs.refusals import STATUS

    assert set(STATUS) == set(get_args(wire.Code))


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_the_server_does_what_the_description_says(program_web, secret, alice):
    """Bounded, against a real server on the loopback: no request that is generated is answered otherwise."""
    job = Job.objects.create(task="t", title="T", owner=alice, state="failed", signature={"task": "t"})
    schema = schemathesis.openapi.from_dict(openapi.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 8
    asked = []

    def ask(operation, data):
        case = data.draw(operation.as_strategy())
        if data.draw(st.booleans()) and "job_id" in (case.path_parameters or {}):
            case.path_parameters["job_id"] = str(job.pk)
        response = case.call(base_url=f"{program_web.url}/api", headers={"Authorization": f"Bearer {secret}"})
        asked.append(response.status_code)
        # That there is a startable of some name, or a page after some text, no schema says.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    bounded = settings(
        max_examples=15,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in operations:
        bounded(given(operation=st.just(operation), data=st.data())(ask))()
    assert {200, 202, 404, 422} <= set(asked)


# -- the socket ------------------------------------------------------------------------------------------------


def test_every_message_is_described_and_no_other():
    document = asyncapi.asyncapi()
    tags = {kind.__struct_config__.tag for kind in (*get_args(Inbound), *get_args(Outbound))}
    assert set(document["components"]["messages"]) == tags
    assert set(document["channels"]["jobs"]["messages"]) == tags
    assert set(document["operations"]) == {
        *(kind.__struct_config__.tag for kind in get_args(Inbound)),
        "hello",
        "job",
        "log",
        "error",
    }


def ref_to(pattern):
    return {
        "type": "object",
        "properties": {"$ref": {"type": "string", "pattern": f"^{pattern}$"}},
        "required": ["$ref"],
        "additionalProperties": False,
    }


def exactly(required, optional=None):
    """An object of these fields and no others."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": sorted(required),
        "additionalProperties": False,
    }


def named(inner):
    """A map; the names are those that AsyncAPI allows."""
    return {
        "type": "object",
        "propertyNames": {"pattern": r"^[\w.-]+$"},
        "additionalProperties": inner,
        "minProperties": 1,
    }


TEXT = {"type": "string", "minLength": 1}
CHANNEL = ref_to("#/channels/jobs")
IN_CHANNEL = {"type": "array", "items": ref_to(r"#/channels/jobs/messages/[\w.-]+"), "minItems": 1}
ASYNCAPI = exactly(
    {
        "asyncapi": {"const": "3.0.0"},
        "info": exactly({"title": TEXT, "version": TEXT}, {"description": TEXT}),
        "channels": named(
            exactly({"address": TEXT, "messages": named(ref_to(r"#/components/messages/[\w.-]+"))})
        ),
        "operations": named(
            exactly(
                {"action": {"enum": ["send", "receive"]}, "channel": CHANNEL},
                {
                    "summary": TEXT,
                    "messages": IN_CHANNEL,
                    "reply": exactly({}, {"channel": CHANNEL, "messages": IN_CHANNEL}),
                },
            )
        ),
        "components": exactly(
            {},
            {
                "messages": named(
                    exactly(
                        {"payload": ref_to(r"#/components/schemas/\w+")},
                        {"name": TEXT, "summary": TEXT, "contentType": {"const": "application/json"}},
                    )
                ),
                "schemas": named({"type": "object"}),
            },
        ),
    }
)
"""What AsyncAPI 3.0 says of the objects that are used here; no package has the official schema."""


def test_the_description_of_the_socket_is_an_asyncapi_document():
    document = asyncapi.asyncapi()
    jsonschema_rs.Draft202012Validator(ASYNCAPI).validate(document)
    for operation in document["operations"].values():
        # A reply goes back on the channel that its question came by, in messages that the channel has.
        for ref in [*operation["messages"], *operation.get("reply", {"messages": []})["messages"]]:
            assert ref["$ref"].rpartition("/")[2] in document["channels"]["jobs"]["messages"]
    wrong = [
        document | {"asyncapi": "2.6.0"},
        document | {"servers": []},
        document | {"operations": {"start": document["operations"]["start"] | {"action": "publish"}}},
    ]
    assert not any(jsonschema_rs.is_valid(ASYNCAPI, found) for found in wrong)


@pytest.mark.parametrize("name", sorted(asyncapi.asyncapi()["components"]["schemas"]))
def test_each_schema_is_one_as_asyncapi_takes_it(name):
    """Where no other format is said, a payload is written in JSON Schema draft 07."""
    schema = asyncapi.asyncapi()["components"]["schemas"][name]
    jsonschema_rs.meta.validate(schema | {"$schema": "http://json-schema.org/draft-07/schema#"})
    assert not {"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired"} & set(keywords(schema))


def keywords(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keywords(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keywords(inner)


def test_what_answers_what_is_what_the_consumer_does():
    """Each case of `_do` tells what the document says that it answers."""
    source = (PROJECT / "status" / "programs" / "consumer.py").read_text()
    tree = ast.parse(source)
    [match] = [node for node in ast.walk(tree) if isinstance(node, ast.Match)]
    told = {}
    for case in match.cases:
        text = "\n".join(ast.unparse(node) for node in case.body)
        [answer] = {
            "Accepted" if name == "_accept_job" else name
            for name in re.findall(r"self\.(_accept_job)\(|self\._tell\((\w+)\(", text)
            for name in name
            if name
        }
        told[case.pattern.cls.id] = answer
    assert told == {kind.__name__: answer.__name__ for kind, answer in asyncapi.ANSWERS.items()}
    assert set(told) == {kind.__name__ for kind in get_args(Inbound)}
    assert consumer.JobsConsumer.__doc__


def schema_of(name):
    document = asyncapi.asyncapi()
    return jsonschema_rs.validator_for(
        {
            "$ref": f"#/components/schemas/{name}",
            "components": document["components"],
            "$schema": "https://json-schema.org/draft/2020-12/schema",
        }
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "start", "job": "a"}',
        '{"type": "start", "job": "a", "params": {"b": [1, null]}, "key": "k", "ref": 1}',
        '{"type": "start", "job": ""}',
        '{"type": "start"}',
        '{"type": "start", "job": "a", "key": "é"}',
        '{"type": "watch", "id": "6f1e0a3c-0000-4000-8000-000000000000", "since": "x"}',
        '{"type": "watch", "id": "6f1e0a3c-0000-4000-8000-000000000000", "log": true, "after": "1.2"}',
        '{"type": "watch", "id": "6f1e0a3c-0000-4000-8000-000000000000", "log": "yes"}',
        '{"type": "list", "state": ["failed"], "limit": 5}',
        '{"type": "list", "state": ["gone"]}',
        '{"type": "ping", "ref": []}',
        '{"type": "ping", "more": 1}',
        '{"type": "dance"}',
    ],
)
def test_the_schema_takes_what_the_parser_takes(text):
    value = msgspec.json.decode(text)
    valid = any(schema_of(kind.__name__).is_valid(value) for kind in get_args(Inbound))
    try:
        parsed = messages.parse(text)
    except messages.Refused:
        parsed = None
    assert valid == (parsed is not None)


def test_a_job_is_as_its_schema_says():
    job = Job(task="t", title="T", steps=[["Read", 1.0, "running", 1, None, "rows", "", 0.5]], result=[1])
    text = msgspec.json.encode(messages.Moved(job=wire.describe(job)))
    schema_of("Moved").validate(msgspec.json.decode(text))
    assert not schema_of("Moved").is_valid({"type": "job", "job": {}})


def test_the_limits_told_are_those_described():
    properties = asyncapi.asyncapi()["components"]["schemas"]["Limits"]["properties"]
    assert set(properties) == {"message_bytes", "messages_per_second", "messages_at_once", "watches"}
