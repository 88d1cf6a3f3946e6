"""What must not be remembered: a memory outlives its run, and is read into prompts."""

import re

_SECRETS = re.compile(
    r"""
    -----BEGIN[ A-Z]*PRIVATE[ ]KEY
    | \b(?:sk|pk|rk|whsec|cy)[-_][A-Za-z0-9+/_-]{16,}      # OpenAI, Anthropic, Stripe, webhooks, this service
    | \b(?:ghp|gho|ghs|ghu|glpat|github_pat|xox[abprs])[-_][A-Za-z0-9_-]{16,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \bAIza[A-Za-z0-9_-]{35}
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # a JSON web token
    | \b[a-z][a-z0-9+]*://[^\s:/@]+:[^\s/@]+@              # a URL with a password
    | \b(?:pass(?:word|wd)?|secret|api[_ -]?key|token)\b["']?\s*(?:[:=]|\bis\b)\s*["']?[^\s"']{6,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def may_remember(text: str) -> bool:
    """Whether a text holds nothing that looks like a key, a token or a password."""
    return _SECRETS.search(text) is None
