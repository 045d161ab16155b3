"""Settings of the project that runs here, all of them from the environment.

DEBUG           1 (default) or 0
SECRET_KEY      required when DEBUG is 0
ALLOWED_HOSTS   names, separated by commas
DATABASE_URL    default: SQLite in RUN_DIR
LOG_FORMAT      line (default), or json: one object a line, with the job's id
METRICS_TOKEN   who sends it as a bearer token may read /metrics; default: only staff may
FARM_URL        the render farm that a demo job asks; `make run` starts it
SITE_URL        where people reach the site, for links in e-mails; default while DEBUG is on: this machine
EMAIL_FROM      the sender of e-mails
EMAIL_URL       smtp://user:password@host:587 (STARTTLS unless the port is 25), or smtps://…; without it e-mails are
                files in RUN_DIR while DEBUG is on, and cannot be chosen else
REDIS_URL       broker and channel layer; `make run` starts a server of its own when it is not set
RUN_DIR         everything that changes while it runs; default: .run beside this project
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
RUN_DIR = Path(os.environ.get("RUN_DIR", BASE_DIR / ".run"))
RUN_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = os.environ.get("DEBUG", "1").lower() in {"1", "true", "yes", "on"}
SECRET_KEY = os.environ.get("SECRET_KEY") or ("for development on this machine only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY in the environment: DEBUG is off.")
ALLOWED_HOSTS = [name for name in os.environ.get("ALLOWED_HOSTS", "").split(",") if name]
if DEBUG:
    ALLOWED_HOSTS += ["localhost", "127.0.0.1", "[::1]"]
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
FARM_URL = os.environ.get("FARM_URL", "http://127.0.0.1:8900")

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "django_celery_beat",
    "django_celery_results",
    "status",
    "demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": dj_database_url.config(default=f"sqlite:///{RUN_DIR / 'db.sqlite3'}", conn_max_age=600)
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets pages read while a worker writes; IMMEDIATE makes writers queue instead of failing midway.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    # A file, so that the workers and web servers which tests start see the same rows.
    DATABASES["default"]["TEST"] = {"NAME": RUN_DIR / "test.sqlite3"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
# Each in its own words: who looks for theirs may read no other.
LANGUAGES = [("en", "English"), ("ar", "العربية"), ("de", "Deutsch")]
# For languages of which Django does not know it, such as Arabic: 1.204, not 1204.
NUMBER_GROUPING = 3
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = RUN_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = RUN_DIR / "media"
# Uploads are moved into MEDIA_ROOT when they wait on the same file system, not copied.
FILE_UPLOAD_TEMP_DIR = RUN_DIR / "uploads"
FILE_UPLOAD_TEMP_DIR.mkdir(exist_ok=True)
# Forms take up to 100 files and say so themselves; larger ones wait on disk, so that many do not fill the memory.
DATA_UPLOAD_MAX_NUMBER_FILES = 200
FILE_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = os.environ.get("HTTPS", "0") == "1"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "status.layer.PubSubLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    },
}

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_keepalive": True, "health_check_interval": 30}
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "demo.site_status.broadcast_site_status": {"queue": "broadcast"},
    "demo.renders.*": {"queue": "poll"},
    "status.sweep": {"queue": "broadcast"},
    "status.send": {"queue": "broadcast"},
    # What waits for others' servers shall not wait for long jobs.
    "status.deliver": {"queue": "poll"},
    # Behind the polls it sent before: what cannot be done at the pace asked for is not piled up.
    "status.polls": {"queue": "poll"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# For prefork: else every task opens its database connection anew, more than once.
CELERY_DB_REUSE_MAX = 1000
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 2.0
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    "site-status": {
        "task": "demo.site_status.broadcast_site_status",
        "schedule": 5.0,
        "options": {"expire_seconds": 10},
    },
}

SITE_URL = os.environ.get("SITE_URL") or (
    f"http://127.0.0.1:{os.environ.get('PORT', '8000')}" if DEBUG else ""
)
EMAIL_URL = urlsplit(os.environ.get("EMAIL_URL", ""))
if EMAIL_URL.scheme not in {"", "smtp", "smtps"} or bool(EMAIL_URL.scheme) != bool(EMAIL_URL.hostname):
    raise ImproperlyConfigured("EMAIL_URL is smtp://user:password@host:port, or smtps://…")
if EMAIL_URL.hostname:
    EMAIL_HOST, EMAIL_USE_SSL = EMAIL_URL.hostname, EMAIL_URL.scheme == "smtps"
    EMAIL_PORT = EMAIL_URL.port or (465 if EMAIL_USE_SSL else 587)
    EMAIL_USE_TLS = not EMAIL_USE_SSL and EMAIL_PORT != 25
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = (
        unquote(EMAIL_URL.username or ""),
        unquote(EMAIL_URL.password or ""),
    )
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = RUN_DIR / "mail"
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM", "jobs@localhost")

STATUS = {
    "PUBLIC_TOPICS": ["site-status"],
    "METRICS_TOKEN": os.environ.get("METRICS_TOKEN", ""),
    "SITE_URL": SITE_URL,
    "TELL_BY": ["email", "webhook"] if SITE_URL and (EMAIL_URL.hostname or DEBUG) else ["webhook"],
    # For trying it out on one machine.
    "WEBHOOK_HTTP": DEBUG,
    "WEBHOOK_PRIVATE": DEBUG,
}

LOG_FORMAT = os.environ.get("LOG_FORMAT") or "line"
if LOG_FORMAT not in {"line", "json"}:
    raise ImproperlyConfigured(f"LOG_FORMAT={LOG_FORMAT} is unknown; use line or json.")
PULSE = re.compile(r"broadcast_site_status|status\.(sweep|polls)")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{levelname} {name}: {message}", "style": "{"},
        "json": {"()": "status.logs.JSONFormatter"},
    },
    "filters": {
        # Every five seconds for ever is no news.
        "no_pulse": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: not PULSE.search(record.getMessage()),
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["no_pulse"]},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
}
