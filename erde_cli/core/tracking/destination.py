"""Where a tracker writes: an address whose credentials are neither stored nor shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

_HIDDEN = "***"


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
            ValueError: it is not a valid address. The message contains no part of it.
        """
        if "://" not in address:
            return cls(address, address)
        try:
            parts = urlsplit(address)
        except ValueError:
            raise ValueError("not a valid address") from None
        given, _, host = parts.netloc.rpartition("@")
        user, _, password = given.partition(":")
        shown = f"{parts.scheme}://{host}{parts.path}"
        # A user without a password can be a token.
        token = "" if password else user
        found = {given, password, unquote(password), token, unquote(token), parts.query}
        found |= {value for _, value in parse_qsl(parts.query)}
        secrets = sorted(filter(None, found), key=len, reverse=True)
        return cls(shown, address, unquote(user), unquote(password), tuple(secrets))

    def hide(self, text: str) -> str:
        """A text, such as an error message, without the credentials."""
        if self._secrets:
            text = text.replace(self.full, self.shown)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text
