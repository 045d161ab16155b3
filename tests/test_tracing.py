"""OpenTelemetry's context from a request to its task and to the events of its job."""

import asyncio
import json
import logging
from uuid import uuid4

import pytest
from celery import chain
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from status import channel, jobs, tracing
from status.events import JobEvent
from status.logs import JSONFormatter
from status.states import State
from tests import tasks
from tests.conftest import ended


@pytest.fixture
def span():
    tracer = TracerProvider().get_tracer("tests")
    with tracer.start_as_current_span("request") as started:
        yield started


def trace_of(span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


@pytest.mark.workers
def test_a_task_runs_in_the_trace_of_the_request_that_started_it(worker, alice, span, transactional_db):
    job = ended(jobs.start(tasks.traced.s(), owner=alice))
    assert job.result == {"trace": trace_of(span)}


@pytest.mark.workers
def test_what_follows_in_a_workflow_runs_in_the_same_trace(worker, alice, span, transactional_db):
    job = jobs.start(chain(tasks.add.s(1, 2), tasks.traced.si()), owner=alice)
    assert ended(job).members.get(position=1).result == {"trace": trace_of(span)}


@pytest.mark.workers
def test_without_a_span_a_task_runs_in_no_trace(worker, alice, transactional_db):
    assert ended(jobs.start(tasks.traced.s(), owner=alice)).result == {"trace": "0" * 32}


@pytest.mark.workers
async def test_events_of_the_job_carry_the_trace(worker, alice, span, transactional_db):
    layer, job_id = channel.get_layer(), uuid4()
    name = await layer.new_channel()
    await layer.group_add(channel.job_group(job_id), name)
    await asyncio.to_thread(jobs.start, tasks.traced.s(), owner=alice, job_id=job_id)
    async with asyncio.timeout(20):
        while (message := await layer.receive(name))["state"] != State.SUCCEEDED:
            pass
    found = trace.get_current_span(tracing.context_of(message)).get_span_context()
    assert found.trace_id == span.get_span_context().trace_id
    assert JobEvent.from_wire(message).state == State.SUCCEEDED
    await layer.flush()


def test_without_the_sdk_nothing_is_carried(monkeypatch, span):
    monkeypatch.setattr(tracing, "is_on", lambda: False)
    assert tracing.carried() == {}
    assert tracing.carried_by(uuid4()) == {}
    assert tracing.context_of({tracing.HEADER: {"traceparent": "x"}}) is None


@pytest.mark.parametrize("header", [None, 7, "x", {"traceparent": "nonsense"}])
def test_a_header_that_is_none_of_ours_is_no_trace(header):
    context = tracing.context_of({tracing.HEADER: header})
    assert context is None or not trace.get_current_span(context).get_span_context().is_valid


def test_a_process_remembers_so_many_jobs_and_no_more(monkeypatch):
    monkeypatch.setattr(tracing, "MOST_JOBS", 3)
    monkeypatch.setattr(tracing, "_of_job", type(tracing._of_job)())
    names = [str(uuid4()) for _number in range(5)]
    for name in names:
        tasks.add.push_request(headers={tracing.HEADER: {"traceparent": "x"}})
        tracing._on_prerun(name, tasks.add)
        tracing._on_postrun(name, tasks.add)
        tasks.add.pop_request()
    assert [str(pk) for pk in tracing._of_job] == names[2:]


def test_a_log_record_in_json_names_the_trace(span):
    record = logging.LogRecord("orders", logging.INFO, __file__, 1, "hello", (), None)
    assert json.loads(JSONFormatter().format(record))["trace"] == trace_of(span)
