"""The addresses of jobs' pages are those of `reverse`."""

from uuid import uuid4

import pytest
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix

from status.addresses import PLACES, job_address, places


def test_it_is_the_address_that_django_gives():
    for job_id in (uuid4(), uuid4()):
        assert job_address(job_id) == reverse("status:job", args=[job_id])


def test_a_project_below_a_prefix_has_it_in_its_addresses():
    job_id, before = uuid4(), get_script_prefix()
    bare = job_address(job_id)
    set_script_prefix("/console/")
    try:
        assert job_address(job_id) == f"/console{bare}" == reverse("status:job", args=[job_id])
    finally:
        set_script_prefix(before)
    assert job_address(job_id) == bare


def test_a_project_that_serves_no_such_page_is_told(settings):
    job_address(uuid4())
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    with pytest.raises(NoReverseMatch):
        job_address(uuid4())


def test_the_header_leads_to_what_the_project_has(settings):
    assert places()["jobs"] == reverse("status:jobs")
    assert "" not in places().values()
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert places() == dict.fromkeys(PLACES, "") | {"login": "/login/", "logout": "/logout/"}
