"""Settings, from the environment only (see :mod:`meshportal.env`). The README lists every variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from meshportal import env, logs

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("MESHPORTAL_DATA_DIR", str(BASE_DIR / "var"))).resolve()

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.secret("SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ("localhost", "127.0.0.1"))
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

# Sealed columns (Fernet keys) and payloads (age identities): the first key writes, all of them read.
MESHPORTAL_KEYS = env.secrets("MESHPORTAL_KEYS")
MESHPORTAL_PAYLOAD_KEYS = env.secrets("MESHPORTAL_PAYLOAD_KEYS")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_filters",
    "template_partials",
    "csp",
    "meshportal.core",
    "meshportal.audit",
    "meshportal.accounts",
    "meshportal.notify",
    "meshportal.web",
    "certificates",
    "mailboxes",
    "messages",
    "meshportal.console",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "meshportal.middleware.RequestContextMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Before those that may sign somebody out, since they say why.
    "django.contrib.messages.middleware.MessageMiddleware",
    "meshportal.middleware.SignInMiddleware",
    "meshportal.middleware.SessionLimitMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "meshportal.middleware.PrivatePagesMiddleware",
]

ROOT_URLCONF = "meshportal.urls"
WSGI_APPLICATION = "meshportal.wsgi.application"
ASGI_APPLICATION = "meshportal.asgi.application"

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
                "meshportal.web.context.portal",
            ],
        },
    }
]

# --- Database -----------------------------------------------------------------------------------------------------
_database_url = env.secret("DATABASE_URL", f"sqlite:///{DATA_DIR / 'meshportal.sqlite3'}")
DATABASES = {"default": dj_database_url.parse(_database_url, conn_max_age=60, conn_health_checks=True)}
_engine = DATABASES["default"]["ENGINE"]
if _engine == "django.db.backends.sqlite3":
    # A write transaction takes its lock when it begins, so that a claim never fails half-way with "database is locked".
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=30000; "
        # Without it REPLACE deletes a row behind the back of the append-only triggers.
        "PRAGMA recursive_triggers=ON;",
    }
    # A file, as in use: Django's in-memory test database has other locks.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
elif _engine != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must name PostgreSQL (postgresql://…) or SQLite (sqlite:///…).")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis and Celery: the doorbell only (the database is the queue) ------------------------------------------------
REDIS_URL = env.secret("REDIS_URL", "redis://127.0.0.1:6379/0")
if not REDIS_URL.startswith(("redis://", "rediss://", "redis+socket://")):
    raise ImproperlyConfigured("REDIS_URL must begin with redis://, rediss:// or redis+socket://.")

# --- MESH ---------------------------------------------------------------------------------------------------------
MESH_URLS = {
    "live": env.text("MESHPORTAL_LIVE_URL", "https://mesh-sync.spineservices.nhs.uk"),
    "int": env.text("MESHPORTAL_INT_URL", "https://msg.intspineservices.nhs.uk"),
    "sandbox": env.text("MESHPORTAL_SANDBOX_URL", "https://localhost:8700"),
}
for _name, _url in MESH_URLS.items():
    if not _url.startswith("https://"):
        raise ImproperlyConfigured(f"MESHPORTAL_{_name.upper()}_URL must begin with https://.")
MESH_SHARED_KEYS = {name: env.secret(f"MESHPORTAL_{name.upper()}_SHARED_KEY", "") for name in ("live", "int", "sandbox")}
# Who issues certificates: MESH API specification, Mutual authentication. Addresses changed before.
CERTIFICATE_REQUEST_ADDRESSES = {
    "live": env.text("MESHPORTAL_LIVE_CERTIFICATES_TO", "ssd.nationalservicedesk@nhs.net"),
    "int": env.text("MESHPORTAL_INT_CERTIFICATES_TO", "itoc.supportdesk@nhs.net"),
    "sandbox": env.text("MESHPORTAL_SANDBOX_CERTIFICATES_TO"),
}
# Some HSCN hosts present certificates without a subject alternative name (MESH API specification, Environments).
MESH_CHECK_COMMON_NAME = env.boolean("MESHPORTAL_CHECK_COMMON_NAME", default=False)
MESH_CONNECT_TIMEOUT = env.integer("MESHPORTAL_CONNECT_TIMEOUT", 10, minimum=1, maximum=120)
MESH_READ_TIMEOUT = env.integer("MESHPORTAL_READ_TIMEOUT", 60, minimum=1, maximum=900)
MESH_MAX_MESSAGE_BYTES = env.integer("MESHPORTAL_MAX_MESSAGE_MB", 20_000, minimum=1, maximum=200_000) * 1024 * 1024
RING_SECONDS = env.integer("MESHPORTAL_RING_SECONDS", 2, minimum=1, maximum=60)
LEASE_SECONDS = env.integer("MESHPORTAL_LEASE_SECONDS", 300, minimum=2, maximum=3600)
RETRY_BASE_SECONDS = env.integer("MESHPORTAL_RETRY_BASE_SECONDS", 60, minimum=1, maximum=3600)
# A download that fails by itself is put aside after so many tries; one that fails with the network gets many more.
MAX_ATTEMPTS = env.integer("MESHPORTAL_MAX_ATTEMPTS", 5, minimum=1, maximum=100)
MAX_NETWORK_ATTEMPTS = env.integer("MESHPORTAL_MAX_NETWORK_ATTEMPTS", 30, minimum=1, maximum=1000)
# MESH API specification, Send message: less than 100 MB a request; what stands before an environment may take less.
MESH_MAX_REQUEST_BYTES = {
    name: env.integer(f"MESHPORTAL_{name.upper()}_MAX_REQUEST_MB", 100, minimum=1, maximum=100) * 1_000_000
    for name in ("live", "int", "sandbox")
}
# 20 MB was ever allowed everywhere.
SEND_CHUNK_BYTES = env.integer("MESHPORTAL_SEND_CHUNK_MB", 20, minimum=1, maximum=99) * 1_000_000
SEND_THREADS = env.integer("MESHPORTAL_SEND_THREADS", 4, minimum=1, maximum=100)
# How long after an unanswered send MESH is first asked whether it has it; the waits double from there.
RECONCILE_SECONDS = env.integer("MESHPORTAL_RECONCILE_SECONDS", 60, minimum=1, maximum=3600)
# MESH API specification, Track outbox: not to be polled often. The first look at a sent message; see messages.track.
TRACK_SECONDS = env.integer("MESHPORTAL_TRACK_SECONDS", 900, minimum=1, maximum=86_400)
# How many messages one filter may hold for them to be sent again at one word.
RESEND_MOST = env.integer("MESHPORTAL_RESEND_MOST", 1000, minimum=1, maximum=10_000)
TRACK_PER_MAILBOX = env.integer("MESHPORTAL_TRACK_PER_MAILBOX", 60, minimum=1, maximum=10_000)
# How often an environment is asked where an organisation is. What MESH bears is not published; a night's questions fit.
MESH_LOOKUPS_PER_SECOND = {
    name: env.integer(f"MESHPORTAL_{name.upper()}_LOOKUPS_PER_SECOND", 25, minimum=1, maximum=10_000)
    for name in ("live", "int", "sandbox")
}
# UTC, so that a day lies between two nights also when the clocks change.
LOOKUP_HOUR = env.integer("MESHPORTAL_LOOKUP_HOUR", 1, minimum=0, maximum=23)
LOOKUP_THREADS = env.integer("MESHPORTAL_LOOKUP_THREADS", 10, minimum=1, maximum=100)
LIST_PAGE_SIZE = env.integer("MESHPORTAL_LIST_PAGE_SIZE", 500, minimum=10, maximum=5000)
TURN_SECONDS = env.integer("MESHPORTAL_TURN_SECONDS", 60, minimum=1, maximum=600)
SHARD_SECONDS = env.integer("MESHPORTAL_SHARD_SECONDS", 30, minimum=1, maximum=600)
POLL_THREADS = env.integer("MESHPORTAL_POLL_THREADS", 8, minimum=1, maximum=100)
POLL_SLOW_THREADS = env.integer("MESHPORTAL_POLL_SLOW_THREADS", 2, minimum=1, maximum=50)

# --- Alerts -----------------------------------------------------------------------------------------------------------
NOTIFY_ESCALATE_MINUTES = env.integer("MESHPORTAL_ESCALATE_MINUTES", 30, minimum=1, maximum=10_080)
NOTIFY_DISK_PERCENT = env.integer("MESHPORTAL_DISK_PERCENT", 10, minimum=1, maximum=50)
NOTIFY_DIGEST_HOUR = env.integer("MESHPORTAL_DIGEST_HOUR", 8, minimum=0, maximum=23)
# A message that nobody takes is tried for so long.
NOTIFY_HOURS = env.integer("MESHPORTAL_NOTIFY_HOURS", 24, minimum=1, maximum=168)
NOTIFY_TIMEOUT = env.integer("MESHPORTAL_NOTIFY_TIMEOUT", 15, minimum=1, maximum=120)
# Private networks that webhooks of channels may reach; none by default.
NOTIFY_NETWORKS = env.networks("MESHPORTAL_NOTIFY_NETWORKS")
NOTIFY_CA_FILE = env.text("MESHPORTAL_NOTIFY_CA_FILE")
DEADMAN_URL = env.secret("MESHPORTAL_DEADMAN_URL", "")
# Where people reach the portal: links in messages begin with it.
PUBLIC_URL = env.text("MESHPORTAL_PUBLIC_URL").rstrip("/")
if PUBLIC_URL and not PUBLIC_URL.startswith(("https://", "http://")):
    raise ImproperlyConfigured("MESHPORTAL_PUBLIC_URL must begin with https://.")

# --- Mail -------------------------------------------------------------------------------------------------------------
EMAIL_HOST = env.text("MESHPORTAL_EMAIL_HOST")
_mail_security = env.text("MESHPORTAL_EMAIL_SECURITY", "starttls")
if _mail_security not in ("starttls", "tls", "none"):
    raise ImproperlyConfigured("MESHPORTAL_EMAIL_SECURITY must be starttls, tls or none.")
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail_security == "starttls", _mail_security == "tls"
EMAIL_PORT = env.integer(
    "MESHPORTAL_EMAIL_PORT", {"starttls": 587, "tls": 465, "none": 25}[_mail_security], minimum=1, maximum=65_535
)
EMAIL_HOST_USER = env.text("MESHPORTAL_EMAIL_USER")
EMAIL_HOST_PASSWORD = env.secret("MESHPORTAL_EMAIL_PASSWORD", "")
DEFAULT_FROM_EMAIL = env.text("MESHPORTAL_EMAIL_FROM", "meshportal@localhost")

# --- Payload storage ------------------------------------------------------------------------------------------------
PREVIEW_BYTES = env.integer("MESHPORTAL_PREVIEW_KB", 256, minimum=1, maximum=10_240) * 1024
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "payloads": {
        "BACKEND": env.text("MESHPORTAL_PAYLOAD_STORAGE", "meshportal.core.storage.DurableFileSystemStorage"),
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
_bucket = env.text("MESHPORTAL_PAYLOAD_BUCKET")
if _bucket:
    STORAGES["payloads"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {"bucket_name": _bucket, "file_overwrite": True, "default_acl": None},
    }
PAYLOAD_DIR = DATA_DIR / "payloads"

# --- Folders of mailboxes, in the layout of the MESH client ----------------------------------------------------------
_folder_root = env.text("MESHPORTAL_FOLDER_ROOT")
FOLDER_ROOT = Path(_folder_root).resolve() if _folder_root else None
FOLDER_SECONDS = env.integer("MESHPORTAL_FOLDER_SECONDS", 10, minimum=1, maximum=3600)
# A document that changes within this time is still being written.
FOLDER_SETTLE_SECONDS = env.integer("MESHPORTAL_FOLDER_SETTLE_SECONDS", 2, minimum=0, maximum=60)
FOLDER_WAIT_SECONDS = env.integer("MESHPORTAL_FOLDER_WAIT_MINUTES", 60, minimum=1, maximum=10_080) * 60

# --- Handing received messages on -------------------------------------------------------------------------------------
HAND_OVER_THREADS = env.integer("MESHPORTAL_HAND_OVER_THREADS", 4, minimum=1, maximum=100)
HAND_OVER_SLOW_THREADS = env.integer("MESHPORTAL_HAND_OVER_SLOW_THREADS", 2, minimum=1, maximum=50)
HAND_OVER_FILE_MODE = env.octal("MESHPORTAL_HAND_OVER_FILE_MODE", 0o640)
# A webhook that does not answer is tried for so long; one that refuses a message, so often.
WEBHOOK_DAYS = env.integer("MESHPORTAL_WEBHOOK_DAYS", 5, minimum=1, maximum=25)
WEBHOOK_REFUSALS = env.integer("MESHPORTAL_WEBHOOK_REFUSALS", 5, minimum=1, maximum=100)
WEBHOOK_TIMEOUT = env.integer("MESHPORTAL_WEBHOOK_TIMEOUT", 30, minimum=1, maximum=300)
# Networks of private addresses that webhooks may reach; none by default.
WEBHOOK_NETWORKS = env.networks("MESHPORTAL_WEBHOOK_NETWORKS")
# A bundle of authorities for receivers with a certificate of an authority of one's own.
WEBHOOK_CA_FILE = env.text("MESHPORTAL_WEBHOOK_CA_FILE")

# --- Static files ---------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]

# --- Sign-in --------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_NAME = "meshportal_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_IDLE_SECONDS = env.integer("MESHPORTAL_SESSION_IDLE_MINUTES", 30, minimum=1, maximum=1440) * 60
SESSION_HARD_SECONDS = env.integer("MESHPORTAL_SESSION_HARD_HOURS", 12, minimum=1, maximum=24) * 3600
SESSION_COOKIE_AGE = SESSION_HARD_SECONDS
TRUSTED_PROXY_COUNT = env.integer("MESHPORTAL_TRUSTED_PROXIES", 0, minimum=0, maximum=5)

# --- Transport security: on unless the portal is told that it is served in clear (a demo on this machine) ------------
SECURE = env.boolean("MESHPORTAL_SECURE", default=True)
SESSION_COOKIE_SECURE = SECURE
CSRF_COOKIE_SECURE = SECURE
SECURE_SSL_REDIRECT = SECURE
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SECURE_HSTS_PRELOAD = SECURE
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
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
    }
}

# --- Words, time, logs ----------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "Europe/London"
USE_TZ = True
USE_I18N = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
LOGGING = logs.configuration(level=env.text("LOG_LEVEL", "INFO").upper(), pretty=env.boolean("LOG_PRETTY", default=False))
SILENCED_SYSTEM_CHECKS: list[str] = []
