"""What is said of figures and jobs, in the active language; the filters of the templates."""

from datetime import timedelta
from functools import lru_cache

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from status import usual
from status.events import Step
from status.headers import POLL_HEADER, header_of
from status.models import Job
from status.notifications import MOST_UNREAD
from status.rendering import MOST_COUNTED
from status.states import State


def duration(value: timedelta | float | None) -> str:
    """A duration in its two largest units: "2 h 5 min", "48 s", "3 s", "0.4 s", "42 ms".

    >>> duration(timedelta(seconds=125))
    '2 min 5 s'
    """
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 0.095:
        return _("%(milliseconds)d ms") % {"milliseconds": max(round(seconds * 1000), 1)}
    if seconds < 10 and not seconds.is_integer():
        return _("%(seconds)s s") % {"seconds": number_format(round(seconds, 1), 1)}
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": seconds}
    return _("%(seconds)s s") % {"seconds": seconds}


def shortly(seconds: float) -> str:
    """A duration without units that are nought: "15 min", "1 min 40 s", "2 h".

    >>> shortly(900), shortly(100), shortly(7200)
    ('15 min', '1 min 40 s', '2 h')
    """
    for unit, text in ((86_400, _("%d d")), (3_600, _("%d h")), (60, _("%d min"))):
        if seconds >= unit and seconds % unit == 0 and (unit > 60 or seconds < 3_600):
            return text % (seconds // unit)
    return duration(seconds)


def time_left(job: Job) -> str:
    """What is left of a job that runs: "48 s left" as it reports, "about 2 min left" as earlier runs went."""
    if job.time_left is not None:
        return _("%s left") % duration(job.time_left)
    usually = usual.left(job)
    if usually is None:
        return ""
    return _("about %s left") % shortly(usually.total_seconds()) if usually else _("longer than usual")


def amount(value: float | None) -> str:
    """A count with separators and no needless decimals: "1,204", "3.5"; "–" for None."""
    return "–" if value is None else _amount(value, get_language())


def rate(value: float | None) -> str:
    """A rate with two or three significant figures: "1,204", "3.5", "0.07"."""
    return "–" if value is None else _rate(value, get_language())


# To ask for the language, to format a number and to translate take microseconds each, so the language is asked for
# once in a filter, and the rest is remembered.


@lru_cache(4096)
def _amount(value: float, language: str | None) -> str:
    """In the active language, which is `language`."""
    return _format(value, 0 if float(value).is_integer() or abs(value) >= 100 else 1)


@lru_cache(4096)
def _rate(value: float, language: str | None) -> str:
    """In the active language, which is `language`."""
    return _format(value, 0 if value >= 100 else 1 if value >= 1 else 2)


def _format(value: float, decimals: int) -> str:
    return number_format(round(value, decimals), decimals, use_l10n=True, force_grouping=True)


@lru_cache(64)
def _per_second(language: str | None) -> str:
    """In the active language, which is `language`."""
    return _("%s/s")


def percent(value: int | None) -> str:
    """A part of the whole: "43%"; empty for None."""
    return "" if value is None else _percent(value, get_language())


@lru_cache(1024)
def _percent(value: int, language: str | None) -> str:
    """In the active language, which is `language`."""
    return _("%d%%") % value


def unread(count: int) -> str:
    """How many notifications are unread: "1,000+" where no more are counted."""
    return f"{amount(count)}+" if count >= MOST_UNREAD else amount(count)


def new_jobs(count: int) -> str:
    """ "3 new jobs"; "100+ new jobs" from a hundred on."""
    if count >= MOST_COUNTED:
        text = ngettext("%(count)d+ new job", "%(count)d+ new jobs", MOST_COUNTED)
        return text % {"count": MOST_COUNTED}
    return ngettext("%(count)d new job", "%(count)d new jobs", count) % {"count": count}


def standing(job: Job) -> str:
    """How a job stands, for the head of a page: its percents while it runs, "Failed" after that."""
    if job.state == State.RUNNING and job.percent is not None:
        return percent(job.percent)
    return job.get_state_display()


def phase(job: Job) -> str:
    """What a job is at, in a few words: "Step 2 of 5: Profile", "Stopped at step 2 of 5: Profile"."""
    if job.canvas and job.tally and job.state not in {State.QUEUED, State.SUCCEEDED}:
        return members(job)
    if job.was_skipped:
        return _("Not run")
    if job.state == State.QUEUED:
        return _("Its turn has not come") if job.held else _("Waiting for a worker")
    if job.state == State.SUCCEEDED:
        return _("Finished")
    step, count = job.step, len(job.step_list)
    if step is None:
        begun = job.is_live or job.started_at is not None
        return job.get_state_display() if begun else _("Stopped before it began")
    name = f"{step.name} › {step.detail}" if step.detail else step.name
    if count == 1:
        return name if job.is_live else _("Stopped at %s") % name
    place = {"number": job.step_number, "count": count, "name": name}
    if job.is_live:
        return _("Step %(number)d of %(count)d: %(name)s") % place
    return _("Stopped at step %(number)d of %(count)d: %(name)s") % place


def waits_for(job: Job) -> str:
    """What somebody is to do before a job goes on: "Waits for someone: approve the draft"; empty for nothing."""
    if job.state != State.WAITING or job.poll_at is None:
        return ""
    # A message of before this was carried is shorter.
    what = "".join((header_of(job.poll_signature, POLL_HEADER) or [])[3:])
    return _("Waits for someone: %s") % what if what else ""


def members(job: Job) -> str:
    """How far the members of a canvas are: "7 of 10 done, 1 failed"."""
    done, failed = job.tally.get(State.SUCCEEDED, 0), job.tally.get(State.FAILED, 0)
    numbers = {"done": amount(done), "total": amount(sum(job.tally.values())), "failed": amount(failed)}
    if failed:
        return _("%(done)s of %(total)s done, %(failed)s failed") % numbers
    return _("%(done)s of %(total)s done") % numbers


def label(state: str) -> str:
    """What a state is called."""
    return str(State(state).label)


def counted(step: Step | None) -> str:
    """What a step has counted: "1,204 / 5,000 rows", "1,204 rows", "1.2 MB / 200.0 MB"; empty for nothing."""
    if step is None or (not step.current and step.total is None):
        return ""
    numbers = [step.current] if step.total is None else [step.current, step.total]
    if step.unit == "bytes":
        return " / ".join(filesizeformat(number) for number in numbers)
    language = get_language()
    return f"{' / '.join([_amount(number, language) for number in numbers])} {step.unit}".rstrip()


def speed(job: Job) -> str:
    """How fast a job counts: "1,204 rows/s", "3.5/s", "1.2 MB/s"; empty unless it runs."""
    if not job.rate or job.state != State.RUNNING:
        return ""
    step, language = job.step, get_language()
    unit = step.unit if step else ""
    if unit == "bytes":
        return _per_second(language) % filesizeformat(job.rate)
    return _per_second(language) % f"{_rate(job.rate, language)} {unit}".rstrip()
