"""How a registry is reached, as a value: address, CA and login.

Read by whoever may read them, handed to whoever speaks to the network.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that no log, error or `repr` shows."""

    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.text)

    def __repr__(self) -> str:
        return "Secret(...)" if self.text else "Secret('')"


@dataclass(frozen=True, slots=True)
class Credential:
    """A login: user name and password, or an identity token instead of both.

    An identity token is an OAuth2 refresh token, which the registry's token service
    alone gets to see (`identitytoken` in config.json).
    """

    username: str = ""
    password: Secret = Secret()
    identity_token: Secret = Secret()


@dataclass(frozen=True, slots=True)
class Access:
    """All that a connection to one registry needs.

    Attributes:
        host: Where its API is: HOST[:PORT], lower case. For messages, too.
        http: Plain HTTP instead of TLS, wherever that host is. A registry on this
            host's loopback needs no such permission.
        ca: PEM of the only CAs that count for it; "" for the system's.
        token_hosts: HOST[:PORT]s besides its own whose token service may be asked.
        credential: What it and its token service may be told; None for anonymous.
    """

    host: str
    http: bool = False
    ca: str = ""
    token_hosts: tuple[str, ...] = ()
    credential: Credential | None = None


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull that an engine makes: its own login, and whose that is said to be.

    `server` is a host or a URL, "" where nothing is said.
    """

    login: Credential | None = None
    server: str = ""
