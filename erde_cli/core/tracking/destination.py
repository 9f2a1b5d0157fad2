"""Where a tracker writes: an address whose credentials are neither stored nor shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

HIDDEN = "***"  # stands for what may be a credential
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")  # of Windows
_NAME = re.compile(r"[^/\\]*:")  # such as the "api:" of api:KEY@host, whose https:// is missing
_OF_FILES = ("file", "sqlite")  # schemes without a host; a folder's name can contain "@"


@dataclass(frozen=True)
class Destination:
    """The address after `--track NAME:`, without and with its credentials.

    shown: without user, password, query and fragment; "" if none is given. full: as given.
    """

    shown: str = ""
    full: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    _secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, address: str) -> Destination:
        """Take an address apart; a path is an address without credentials.

        Raises:
            ValueError: it is not a valid address, or may have credentials where they cannot be
                distinguished from the rest. The message contains no part of it.
        """
        if _URL.match(address) is None:
            if "@" in address or "://" in address or _begins_with_name(address):
                raise ValueError("not a valid address")
            return cls(address, address)
        parts = _split(address)
        given, _, host = parts.netloc.rpartition("@")
        user, _, password = given.partition(":")
        shown = f"{parts.scheme}://{host}{parts.path}"
        # A user without a password can be a token.
        token = "" if password else user
        found = {given, password, unquote(password), token, unquote(token)}
        found |= _values(parts.query) | _values(parts.fragment)
        secrets = sorted(filter(None, found), key=len, reverse=True)
        return cls(shown, address, unquote(user), unquote(password), tuple(secrets))

    def hide(self, text: str) -> str:
        """A text, such as an error message, without the credentials."""
        if self._secrets:
            text = text.replace(self.full, self.shown)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def _begins_with_name(path: str) -> bool:
    """Whether a path begins like NAME:VALUE; a drive of Windows does not count."""
    return _DRIVE.match(path) is None and _NAME.match(path) is not None


def _split(address: str) -> SplitResult:
    """Parts of an address.

    Raises:
        ValueError: it is not valid, or what may be a password is not followed by "@HOST".
    """
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https"):
            parts.port  # noqa: B018 (raises, such as in https://api:KEY)
    except ValueError:
        raise ValueError("not a valid address") from None
    is_file = parts.scheme in _OF_FILES and not parts.netloc
    if not is_file and "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("not a valid address")  # such as after a password with "/"
    return parts


def _values(text: str) -> set[str]:
    """A query or fragment, and each of its values, as written and decoded."""
    found = {text}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        found.add(value or name)
    return found | {unquote_plus(one) for one in found}
