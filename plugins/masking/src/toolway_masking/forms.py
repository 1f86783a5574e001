"""Secrets that are known by their form: tokens and keys of clouds, code hosts and services, and the gateway's own.

Forms are those that their issuers document or that secret scanners look for. All are RE2 expressions.
"""

from __future__ import annotations

LINE = r"(?:\b|\\[nrt])"
"""Where a word begins, in plain text and after a line break that is written as JSON writes it."""

OWN = (r"tw[aks]_[A-Za-z0-9_-]{20,}",)

TOKENS = (
    r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){1,3}",  # JWS and JWE, RFC 7515 and RFC 7516
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",  # Vault
    LINE + r"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
)

CLOUDS = (
    r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}",  # AWS
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",  # Microsoft Entra
    r"do[opr]_v1_[a-f0-9]{40,}",  # DigitalOcean
    r"dapi[a-f0-9]{32}",  # Databricks
)

CODE_HOSTS = (
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|ptt|oas|dt|rt|cbt|imt|agent|soat|ft|ffct)-[A-Za-z0-9_.-]{20,}",
    r"ATATT3[A-Za-z0-9_=-]{20,}",
    r"ATBB[A-Za-z0-9]{20,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{40,}",
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
)

SERVICES = (
    r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}",  # Slack
    r"xapp-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/_-]{20,}",
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",  # Stripe
    r"whsec_[A-Za-z0-9+/=_-]{20,}",
    LINE + r"sk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic and others who do as they do
    LINE + r"(?:gsk|hf|ntn|pplx|r8|lin_api|glsa|glc)[_-][A-Za-z0-9_]{20,}",
    LINE + r"xai-[A-Za-z0-9]{20,}",
    r"secret_[A-Za-z0-9]{40,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    LINE + r"SK[0-9a-f]{32}",  # Twilio
    LINE + r"key-[0-9a-f]{32}",  # Mailgun
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",  # Shopify
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}",  # Telegram
)

KEYS = (
    (
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^\"'-]|-[^-])*"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"  # RFC 7468
    ),
)

EMAIL = r"[A-Za-z0-9.!#$%&*+/=?^_{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"

WHOLE = (*OWN, *TOKENS, *CLOUDS, *CODE_HOSTS, *SERVICES, *KEYS)
"""What is removed as a whole."""

SCHEME = r"(?i:(?:\b|\\[nrt])(?:bearer|basic|apikey|dpop)[ \t]+)"
CREDENTIAL = r"[A-Za-z0-9._~+/=-]{6,}"
"""Of an Authorization header (RFC 9110 section 11.4): `token68`."""

USERINFO = r"://[^\s/?#\"'\\]*:[^\s/?#\"'\\]*@"
"""User and password of a URL (RFC 3986 section 3.2.1)."""

CARD = r"[2-6](?:[ -]?[0-9]){12,18}"
"""What may be the number of a payment card (ISO/IEC 7812: 13 to 19 digits, the last one a check digit)."""

DIGITS = r"[0-9](?:[ -]?[0-9]){12,}"
"""Among which there may be one."""
