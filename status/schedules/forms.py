"""The forms that ask when a task is to be run, and with what."""

import json
import zoneinfo
from datetime import datetime
from typing import Any

from celery import current_app
from celery.schedules import ParseException, crontab_parser
from django import forms
from django.core.validators import MaxValueValidator
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from kombu.utils.json import loads

from status.outbox import json_of
from status.schedules.allowed import Schedulable
from status.schedules.due import next_times
from status.starts import argument_of

SHOWN = 5
"""So many of the next runs are shown."""

LONGEST_ARGUMENTS = 20_000
CRONTAB = {
    "minute": (60, 0),
    "hour": (24, 0),
    "day_of_month": (31, 1),
    "month_of_year": (12, 1),
    "day_of_week": (7, 0),
}
"""Its fields, each with how many values there are, and the first."""

FIELDS = {"interval": ("every", "period"), "crontab": (*CRONTAB, "zone")}
"""Those of each kind."""

PERIODS = [
    (IntervalSchedule.SECONDS, gettext_lazy("seconds")),
    (IntervalSchedule.MINUTES, gettext_lazy("minutes")),
    (IntervalSchedule.HOURS, gettext_lazy("hours")),
    (IntervalSchedule.DAYS, gettext_lazy("days")),
]


def _zones() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(zoneinfo.available_timezones())]


def _cron(label: Any, length: int) -> forms.CharField:
    return forms.CharField(label=label, max_length=length, required=False, initial="*")


class TimingForm(forms.Form):
    """When: an interval, or a crontab with its time zone. Only the fields of the chosen kind count."""

    kind = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=[("interval", gettext_lazy("At an interval")), ("crontab", gettext_lazy("At times of day"))],
        widget=forms.RadioSelect,
        initial="interval",
    )
    every = forms.IntegerField(
        label=pgettext_lazy("before a number and a unit of time", "Every"),
        min_value=1,
        required=False,
        initial=1,
        validators=[MaxValueValidator(100_000)],
    )
    period = forms.ChoiceField(
        label=gettext_lazy("Unit"), choices=PERIODS, required=False, initial=IntervalSchedule.HOURS
    )
    minute = _cron(gettext_lazy("Minute"), 240)
    hour = _cron(gettext_lazy("Hour"), 96)
    day_of_month = _cron(gettext_lazy("Day of the month"), 124)
    month_of_year = _cron(gettext_lazy("Month"), 64)
    day_of_week = _cron(gettext_lazy("Day of the week"), 64)
    zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        choices=_zones,
        required=False,
        initial=timezone.get_default_timezone_name,
    )

    def clean(self) -> dict[str, Any]:
        """What the chosen kind needs must be there, and come due some day."""
        cleaned = super().clean() or {}
        for kind, names in FIELDS.items():
            if kind != cleaned.get("kind"):
                # Nobody sees them, so nobody could mend them.
                for name in names:
                    self.errors.pop(name, None)
        if cleaned.get("kind") == "interval":
            for name in ("every", "period"):
                if not cleaned.get(name) and name not in self.errors:
                    self.add_error(name, _("Say how often it is to be run."))
        elif cleaned.get("kind") == "crontab":
            self._clean_crontab(cleaned)
        if not self.errors:
            self._clean_times()
        return cleaned

    def _clean_crontab(self, cleaned: dict[str, Any]) -> None:
        for name, (size, first) in CRONTAB.items():
            if name in self.errors:
                continue
            try:
                crontab_parser(size, first).parse(cleaned.get(name, ""))
            except (ParseException, ValueError):
                last = size + first - 1
                text = _(
                    "Write * for each, a number from %(first)d to %(last)d, a range as %(first)d-%(last)d, "
                    "a step as */2, or several of these with commas between them."
                )
                if name == "day_of_week":
                    text += " " + _("0 is Sunday; sun to sat may be written as well.")
                self.add_error(name, text % {"first": first, "last": last})
        if not cleaned.get("zone") and "zone" not in self.errors:
            self.add_error("zone", _("Choose the time zone in which these times are meant."))

    def _clean_times(self) -> None:
        try:
            times = self.next_times(timezone.now())
        except ValueError:
            # Celery refuses the 31st of February by itself.
            times = []
        if not times:
            self.add_error(None, _("No such day ever comes: look at the day and the month."))

    @property
    def timing(self) -> IntervalSchedule | CrontabSchedule:
        """The unsaved row that says when; of a valid form."""
        cleaned = self.cleaned_data
        if cleaned["kind"] == "interval":
            return IntervalSchedule(every=cleaned["every"], period=cleaned["period"])
        fields = {name: cleaned[name].replace(" ", "") for name in CRONTAB}
        return CrontabSchedule(timezone=zoneinfo.ZoneInfo(cleaned["zone"]), **fields)

    @property
    def schedule(self) -> Any:
        """When, as Celery has it; of a valid form. Raises ValueError for a day that never comes."""
        return self.timing.schedule

    @property
    def zone_name(self) -> str:
        """The time zone in which the times are to be read: that of a crontab, else the active one."""
        cleaned = getattr(self, "cleaned_data", {})
        is_crontab = cleaned.get("kind") == "crontab"
        return (is_crontab and cleaned.get("zone")) or timezone.get_current_timezone_name()

    def next_times(self, now: datetime) -> list[datetime]:
        """The next runs if it were made now; of a valid form."""
        return next_times(self.schedule, now, now, SHOWN)

    def next_runs(self, now: datetime) -> list[tuple[datetime, str]]:
        """The next runs, each with the zone's name at that time, which tells the passes of a repeated hour apart."""
        zone = zoneinfo.ZoneInfo(self.zone_name)
        return [(at, at.astimezone(zone).tzname() or "") for at in self.next_times(now)]


def timing_of(task: PeriodicTask) -> dict[str, Any]:
    """The initial data of a `TimingForm` for a schedule that is there."""
    if task.interval is not None:
        return {"kind": "interval", "every": task.interval.every, "period": task.interval.period}
    if task.crontab is not None:
        fields = {name: getattr(task.crontab, name) for name in CRONTAB}
        return {"kind": "crontab", "zone": str(task.crontab.timezone), **fields}
    return {}


class ScheduleForm(TimingForm):
    """A schedule of one task. Where the task has a form for people to start it, that asks for the arguments."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=200, help_text=gettext_lazy("What its runs are called.")
    )
    arguments = forms.CharField(
        label=gettext_lazy("Arguments, as JSON"),
        required=False,
        max_length=LONGEST_ARGUMENTS,
        widget=forms.Textarea({"rows": 4, "spellcheck": "false", "class": "font-mono"}),
        help_text=gettext_lazy('By name: {"path": "orders.csv"}. Or in their order: ["orders.csv"].'),
    )

    def __init__(self, item: Schedulable, task: PeriodicTask | None = None, data: Any = None) -> None:
        """`task` is the one to edit; None: a new one."""
        initial: dict[str, Any] = {"name": item.title}
        args, kwargs = _held(task)
        if task is not None:
            initial = {"name": task.name, "arguments": _shown(args, kwargs), **timing_of(task)}
        super().__init__(data, initial=initial)
        self._item, self._task = item, task
        # Where there are arguments of both kinds, those by name are asked for.
        self._args = args if kwargs else []
        self.inner: forms.Form | None = None
        if item.entry is not None:
            del self.fields["arguments"]
            self.inner = item.entry.form(data, prefix="arguments", initial=kwargs)

    def initial_timing(self) -> dict[str, Any]:
        """What its fields of time show at first."""
        return {name: self.get_initial_for_field(self.fields[name], name) for name in TimingForm.base_fields}

    def is_valid(self) -> bool:
        """Whether this form and the task's own are; both are looked at."""
        is_inner_valid = self.inner is None or self.inner.is_valid()
        return super().is_valid() and is_inner_valid

    def clean_name(self) -> str:
        """A name that no other schedule has."""
        name: str = self.cleaned_data["name"]
        others = PeriodicTask.objects.filter(name=name)
        if self._task is not None:
            others = others.exclude(pk=self._task.pk)
        if others.exists():
            raise forms.ValidationError(_("Another schedule has this name. Choose another one."))
        return name

    def clean_arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments that the task takes."""
        text = self.cleaned_data["arguments"].strip() or "{}"
        try:
            value = json.loads(text)
        except ValueError as error:
            raise forms.ValidationError(_("This is no JSON: %s.") % error) from error
        if not isinstance(value, dict | list):
            raise forms.ValidationError(
                _(
                    'Write arguments by name in braces, {"path": "a.csv"}, or in their order in brackets, ["a.csv"].'
                )
            )
        args, kwargs = (self._args, value) if isinstance(value, dict) else (value, {})
        header = getattr(current_app.tasks.get(self._item.task), "__header__", None)
        if header is not None:
            try:
                header(*args, **kwargs)
            except TypeError as error:
                raise forms.ValidationError(_("The task does not take these: %s.") % error) from error
        return args, kwargs

    @property
    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as JSON can hold them; of a valid form."""
        if self.inner is None:
            args, kwargs = self.cleaned_data["arguments"]
            return args, kwargs
        values = {name: argument_of(value) for name, value in self.inner.cleaned_data.items()}
        return [], json_of(values)


def _held(task: PeriodicTask | None) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a schedule that is there; none if somebody wrote what is no JSON."""
    if task is None:
        return [], {}
    try:
        return loads(task.args or "[]"), loads(task.kwargs or "{}")
    except ValueError:
        return [], {}


def _shown(args: list[Any], kwargs: dict[str, Any]) -> str:
    return json.dumps(args if args and not kwargs else kwargs, indent=2, ensure_ascii=False, default=str)
