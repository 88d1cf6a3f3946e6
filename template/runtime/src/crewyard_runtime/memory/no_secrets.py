"""What must not be remembered: a memory outlives its run, and is read into prompts."""

import re

# What services put before their keys, which are long and have a digit in them.
_PREFIXES = (
    "sk-|sk_live_|sk_test_|pk_live_|pk_test_|rk_live_|whsec_|cy_|m0-|hf_|npm_|pypi-|dop_v1_|ya29\\.|SG\\.|GOCSPX-|"
    "ghp_|gho_|ghs_|ghu_|glpat-|github_pat_|xox[abprs]-"
)
_NAMES = "pass(?:word|wd|phrase)?|pwd|pw|secret|(?:api|access|account|private|client|secret)[_ -]?(?:key|secret)|token"
# What is a key by its shape alone.
_SHAPES = rf"""
    -----BEGIN[ A-Z]*PRIVATE[ ]KEY
    | (?<![A-Za-z0-9])(?:{_PREFIXES})(?=[A-Za-z0-9._/+-]*[0-9])(?=[A-Za-z0-9._/+-]*[A-Za-z])[A-Za-z0-9._/+-]{{16,}}
    | \b(?:AKIA|ASIA)[A-Z0-9]{{16}}\b
    | \bAIza[A-Za-z0-9_-]{{35}}
    | \beyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]*  # a JSON web token
"""
KEYS = re.compile(_SHAPES, re.VERBOSE)
_SECRETS = re.compile(
    rf"""
    {_SHAPES}
    | (?i:\b[a-z][a-z0-9+]*://[^\s:/@]+:[^\s/@]+@)              # a URL with a password
    | hooks\.slack\.com/services/\S+
    | (?i:\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{{16,}})
    | [A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY)[A-Z0-9_]*\s*=\s*\S{{4,}}
    | (?i:\bmy\s+(?:{_NAMES})\s+is\s+["']?[^\s"']{{6,}}["']?\s*(?:[.,;!]|$))
    # A name and what is assigned to it; in a sentence only what no word looks like.
    | (?i:(?<![A-Za-z])(?:{_NAMES})\b["']?\s*(?:[:=]|->)\s*["']?[^\s"']{{4,}})
    | (?i:(?<![A-Za-z])(?:{_NAMES})\s+is\s+["']?(?=\S*[0-9!#$%^&*_+=@])[^\s"']{{4,}})
    """,
    re.VERBOSE,
)


def may_remember(text: str) -> bool:
    """Whether a text holds nothing that looks like a key, a token or a password."""
    return _SECRETS.search(text) is None
