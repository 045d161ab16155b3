"""The description of HTTP for programs (OpenAPI 3.1), made from the types that are used to read and write."""

from functools import cache
from typing import Any

import msgspec
from django.urls import reverse

from status.models.tokens import PREFIX
from status.programs.acts import MOST_LISTED
from status.programs.lines import MOST_LINES
from status.programs.requests import StartRequest
from status.programs.views import LONGEST_WAIT_SECONDS
from status.programs.wire import VERSION, FileList, JobDocument, JobList, LineList, Problem
from status.states import State

Schema = dict[str, Any]


def openapi() -> Schema:
    """The document, for where the addresses are in this project.

    Example:
        >>> openapi()["openapi"]
        '3.1.0'
    """
    # Where they are does not change, but what they are below may, from one script prefix to another.
    return {**_document(), "servers": [{"url": reverse("status_api:jobs").removesuffix("/jobs/") or "/"}]}


@cache
def _document() -> Schema:
    types = [JobDocument, JobList, LineList, FileList, Problem, StartRequest]
    _refs, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Jobs",
            "version": str(VERSION),
            "description": "Start, watch, cancel and retry jobs. New fields may come in every answer.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A personal token, `{PREFIX}…`, made in the console.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "sessionid",
                    "description": "What changes something wants the header X-CSRFToken as well.",
                },
            },
        },
    }


def _paths() -> Schema:
    job_id = _parameter("job_id", "path", {"type": "string", "format": "uuid"}, "The job.")
    file_id = _parameter("attachment_id", "path", {"type": "string", "format": "uuid"}, "The file.")
    after = _parameter("after", "query", {"type": "string"}, "`next` of the page before.")
    state = _parameter(
        "state",
        "query",
        {"type": "array", "items": {"type": "string", "enum": State.values}},
        "Only jobs in one of these states.",
    )
    wait = _parameter(
        "wait",
        "query",
        _whole(0, LONGEST_WAIT_SECONDS, 0),
        "Answer when the job has ended, or after so many seconds; with If-None-Match, when it is another than that.",
    )
    known = _parameter("If-None-Match", "header", {"type": "string"}, "The ETag that you have.")
    return {
        "/jobs/": {
            "get": _operation(
                "listJobs",
                "The jobs that you may watch, newest first. Members of workflows are not among them.",
                [state, after, _parameter("limit", "query", _whole(1, MOST_LISTED, 25), "So many at most.")],
                {"200": _json("A page of jobs.", "JobList")},
                [401, 422],
            ),
            "post": {
                **_operation(
                    "startJob",
                    "Start a job. It is accepted, not done.",
                    [],
                    {"202": _accepted("The job, or the live one of yours that has the key.")},
                    [401, 403, 413, 422],
                ),
                "requestBody": {"required": True, "content": _start_content()},
            },
        },
        "/jobs/{job_id}": {
            "get": _operation(
                "getJob",
                "One job. Its ETag is its `version`.",
                [job_id, wait, known],
                {
                    "200": _json("The job.", "JobDocument", ETag="Its version."),
                    "304": {"description": "It is as you know it.", "headers": _headers(ETag="Its version.")},
                },
                [401, 404, 422, 503],
            )
        },
        "/jobs/{job_id}/log": {
            "get": _operation(
                "getLog",
                "Log lines, oldest first.",
                [
                    job_id,
                    after,
                    _parameter("limit", "query", _whole(1, MOST_LINES, MOST_LINES), "So many at most."),
                ],
                {"200": _json("A page of lines.", "LineList")},
                [401, 404, 422],
            )
        },
        "/jobs/{job_id}/files": {
            "get": _operation(
                "listFiles",
                "The files that the job was given or that it made, oldest first.",
                [job_id],
                {"200": _json("The files.", "FileList")},
                [401, 404],
            )
        },
        "/jobs/{job_id}/files/{attachment_id}": {
            "get": _operation(
                "getFile",
                "One file.",
                [job_id, file_id],
                {"200": {"description": "Its bytes.", "content": {"application/octet-stream": {}}}},
                [401, 404],
            )
        },
        "/jobs/{job_id}/cancellation": {
            "post": _operation(
                "cancelJob",
                "Cancel a job: what has not begun never will, what runs is asked to end, what has ended stays.",
                [job_id],
                {"202": _accepted("The job as it is now.")},
                [401, 403, 404],
            )
        },
        "/jobs/{job_id}/retry": {
            "post": _operation(
                "retryJob",
                "Run a failed or cancelled job again, as its next attempt.",
                [job_id],
                {"202": _accepted("The job as it is now.")},
                [401, 403, 404, 409],
            )
        },
    }


def _operation(
    name: str, summary: str, parameters: list[Schema], answers: Schema, refusals: list[int]
) -> Schema:
    refused = {
        str(status): {
            "description": "Refused.",
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
        for status in refusals
    }
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": {**answers, **refused},
    }


def _start_content() -> Schema:
    form = {
        "type": "object",
        "description": "With files: each parameter under its own name, `params.file`.",
        "required": ["job"],
        "properties": {"job": {"type": "string"}, "key": {"type": "string"}},
    }
    return {"application/json": {"schema": _ref("StartRequest")}, "multipart/form-data": {"schema": form}}


def _accepted(description: str) -> Schema:
    return _json(description, "JobDocument", Location="The job's address.")


def _json(description: str, schema: str, **headers: str) -> Schema:
    found = {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}
    return {**found, "headers": _headers(**headers)} if headers else found


def _headers(**descriptions: str) -> Schema:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in descriptions.items()}


def _parameter(name: str, place: str, schema: Schema, description: str) -> Schema:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": description,
    }


def _whole(least: int, most: int, default: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
