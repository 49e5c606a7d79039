"""Settings of the runnable host. Pure: they compute addresses and read keys, and start nothing.

Environment: DATABASE_URL, SECRET_KEY, SYNCLINE_KEYS, ALLOWED_HOSTS, SYNCLINE_PUBLIC_URL, SYNCLINE_STATE, SYNCLINE_WORKERS,
SYNCLINE_PUSH_THREADS, SYNCLINE_LEASE_SECONDS, SYNCLINE_STREAM_LEASE_SECONDS, SYNCLINE_CATALOG_MAX_AGE,
SYNCLINE_DRIFT_SECONDS, SYNCLINE_STALL_SECONDS, SYNCLINE_STOP_SECONDS, SYNCLINE_CHANGES_LIMIT, SYNCLINE_WATCH_LOCK_MS,
SYNCLINE_REMOVALS_COUNT, SYNCLINE_REMOVALS_SHARE, SYNCLINE_REMOVALS_HOURS, SYNCLINE_PLAN_DAYS, SYNCLINE_INBOX_BODY,
SYNCLINE_INBOX_DAYS, SYNCLINE_INBOX_KEYS_DAYS, SYNCLINE_LOG_LEVEL, DJANGO_DEBUG; elsewhere SYNCLINE_ALLOW_LOOPBACK and PORT
(`make up`). On loopback none is needed; docs/operations.md says what each means.
"""

from __future__ import annotations

import os
from datetime import timedelta

from syncline_host import environment

STATE_DIR = environment.state_dir()

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS") or list(environment.LOOPBACK)
SECRET_KEY = environment.secret("SECRET_KEY", STATE_DIR, environment.new_secret_key)

# The ring that encrypts stored credentials: the first key encrypts, all of them decrypt.
SYNCLINE_KEYS = [
    key.strip()
    for key in environment.secret("SYNCLINE_KEYS", STATE_DIR, environment.new_credential_key).split(",")
    if key.strip()
]
# Where browsers and vendors reach this host: redirect URIs and webhook addresses begin with it.
SYNCLINE_PUBLIC_URL = os.environ.get("SYNCLINE_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
# A drain stops taking new work after this many seconds, and rings again if some is left.
SYNCLINE_DRAIN_SECONDS = 60
# Batches of one part of a run that are on their way at once.
SYNCLINE_PUSH_THREADS = int(os.environ.get("SYNCLINE_PUSH_THREADS", "4"))
# Whether calls keep to the limits that connectors declare; "off" suits a sandbox that has none.
SYNCLINE_BUDGETS = os.environ.get("SYNCLINE_BUDGETS", "on") != "off"
# How long a part of a run stays claimed without a sign of life; calls time out after two thirds of it.
SYNCLINE_LEASE_SECONDS = float(os.environ.get("SYNCLINE_LEASE_SECONDS", "30"))
# The same for a partition or shard of a continuous sync: it is another process's so soon after its own was killed.
SYNCLINE_STREAM_LEASE_SECONDS = float(os.environ.get("SYNCLINE_STREAM_LEASE_SECONDS", "10"))
#: Seconds after which a run asks an account again what it offers; and the least time between two questions while one goes on.
SYNCLINE_CATALOG_MAX_AGE = float(os.environ.get("SYNCLINE_CATALOG_MAX_AGE", "3600"))
SYNCLINE_DRIFT_SECONDS = float(os.environ.get("SYNCLINE_DRIFT_SECONDS", "5"))
#: Days after which the identity index of an object is built anew instead of being followed up.
SYNCLINE_INDEX_DAYS = float(os.environ.get("SYNCLINE_INDEX_DAYS", "7"))
# When more keys of changed records wait for a sync, one full pass takes their place.
SYNCLINE_CHANGES_LIMIT = int(os.environ.get("SYNCLINE_CHANGES_LIMIT", "100000"))
# So long whoever sets up triggers waits for a table, and with it those who write to it.
SYNCLINE_WATCH_LOCK_MS = int(os.environ.get("SYNCLINE_WATCH_LOCK_MS", "500"))
# Removals in so many hours that are more than this number and this share of the linked records wait for a person.
SYNCLINE_REMOVALS_COUNT = int(os.environ.get("SYNCLINE_REMOVALS_COUNT", "20"))
SYNCLINE_REMOVALS_SHARE = float(os.environ.get("SYNCLINE_REMOVALS_SHARE", "0.1"))
SYNCLINE_REMOVALS_HOURS = int(os.environ.get("SYNCLINE_REMOVALS_HOURS", "24"))
SYNCLINE_PLAN_DAYS = int(os.environ.get("SYNCLINE_PLAN_DAYS", "30"))
# A delivery of a vendor may have so many bytes; it is kept so many days; its events are known by name for so many days.
SYNCLINE_INBOX_BODY = int(os.environ.get("SYNCLINE_INBOX_BODY", "1048576"))
SYNCLINE_INBOX_DAYS = int(os.environ.get("SYNCLINE_INBOX_DAYS", "30"))
SYNCLINE_INBOX_KEYS_DAYS = int(os.environ.get("SYNCLINE_INBOX_KEYS_DAYS", "7"))

# Without a sign of life for so long, a worker's processes are ended and started anew by its supervisor.
SYNCLINE_STALL_SECONDS = float(os.environ.get("SYNCLINE_STALL_SECONDS", "40"))
# A worker that is asked to stop has so long to finish the batch it is at.
SYNCLINE_STOP_SECONDS = float(os.environ.get("SYNCLINE_STOP_SECONDS", "45"))

INSTALLED_APPS = [
    "syncline.apps.SynclineConfig",  # first: its templates may override the admin's
    "syncline.pages.config.SynclineAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "django_q",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    *environment.installed_apps(),
]

MIDDLEWARE = [
    "syncline.inbox.first.DeliveriesFirst",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "syncline_host.nul.NulIsNoQuestion",
]

ROOT_URLCONF = "syncline_host.urls"
WSGI_APPLICATION = "syncline_host.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

DATABASES = {"default": environment.database(STATE_DIR)}

AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "syncline_host.auth.EmailBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# No form-action: the connect button is a form whose answer redirects to the vendor, and browsers check redirects too.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {"default-src": ["'self'"], "base-uri": ["'self'"], "frame-ancestors": ["'none'"]},
}

_ENCRYPTED = SYNCLINE_PUBLIC_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [SYNCLINE_PUBLIC_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _ENCRYPTED
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _ENCRYPTED else None
SECURE_HSTS_SECONDS = 31_536_000 if _ENCRYPTED else 0
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"  # not Strict: the vendor's redirect back after OAuth must carry the session
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "syncline.api.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.OrderingFilter",
    ],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 100,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=15), "REFRESH_TOKEN_LIFETIME": timedelta(days=1)}
SPECTACULAR_SETTINGS = {
    "TITLE": "Syncline",
    "DESCRIPTION": "The API of this Syncline host and of its business apps.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
}

# Django-Q2 is only the doorbell and the clock (see syncline/background). `timeout` must leave a drain its budget
# and the time to finish what it began, which may be the listing of an account: at 19 pages of 100 records in a second,
# an hour is enough for millions. `retry` must exceed the whole time a doorbell may wait inside a cluster.
_TASK_TIMEOUT = 3600
_QUEUE_LIMIT = _BULK = 1
Q_CLUSTER = {
    "name": "syncline",
    "orm": "default",
    "broker_class": "syncline.background.broker.Bell",
    "workers": int(os.environ.get("SYNCLINE_WORKERS", "2")),
    "queue_limit": _QUEUE_LIMIT,
    "bulk": _BULK,
    "timeout": _TASK_TIMEOUT,
    "retry": (_QUEUE_LIMIT + _BULK + 2) * _TASK_TIMEOUT + 60,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "label": "Background",
    "log_level": "WARNING",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "syncline_host.lines.OneLine", "format": "{asctime} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"syncline": {"level": os.environ.get("SYNCLINE_LOG_LEVEL", "INFO")}, "django-q": {"level": "WARNING"}},
}
