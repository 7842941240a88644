"""Decides what lets the requests of one destination in: resolves its references into bytes that are ready to write.

Errors name the reference and its place, and never a value.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from pipeline import __version__
from pipeline.config import modes, proxy
from pipeline.config.auth import SecretUrl, base_url_flaw
from pipeline.core import signing
from pipeline.errors import ConfigError
from pipeline.model import Credentials, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from pipeline.config.auth import Auth, ClientCredentials, Sign, Tls
    from pipeline.config.models import Config, DestinationConfig
    from pipeline.config.places import Path
    from pipeline.config.secrets import Secrets, Version
    from pipeline.model import Problem, Proxy

USER_AGENT: Final = f"hookline/{__version__}"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UNRESOLVED: Final = "https://unresolved.invalid"

_Key = TypeVar("_Key")


@value
class Origin:
    """Scheme, host and port of a URL: what may be shown of it."""

    tls: bool
    host: str
    port: int

    @property
    def header(self) -> str:
        """The Host header: without the scheme's own port (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


@value
class Access:
    """How one destination is reached and entered. `path` is that of its base URL, or "" where it is secret.

    `token_endpoint` is where access tokens come from; `plugin` names a signer and its options; `tls_files` are the
    paths of CA, certificate and key, each or ""; `files` all references to files, with their versions as they were read
    (see Secrets.version).
    """

    origin: Origin
    path: str
    credentials: Credentials
    token_endpoint: Origin | None
    tls_files: tuple[str, str, str]
    files: Mapping[str, Version]
    proxy: Proxy | None
    plugin: tuple[str, Mapping[str, str]] | None = field(default=None, repr=False)


def resolve(config: Config, secrets: Secrets, name: str) -> Access:
    """Resolve the references of one destination. Blocks on files. Raises ConfigError with all that is wrong."""
    resolving = _Resolving(config, secrets, name)
    access = resolving.access(config.destinations[name])
    if resolving.problems:
        raise ConfigError(tuple(resolving.problems))
    return access


def origin(url: SplitResult) -> Origin:
    """Return what may be shown of a URL."""
    return Origin(url.scheme == "https", url.hostname or "", url.port or DEFAULT_PORTS[url.scheme])


class _Resolving:
    """The resolving of one destination; collects problems and the files it read on the way."""

    def __init__(self, config: Config, secrets: Secrets, name: str) -> None:
        self.problems: list[Problem] = []
        self._config = config
        self._secrets = secrets
        self._name = name
        self._files: dict[str, Version] = {}
        self._private = bool(config.destinations[name].private_networks)

    def access(self, destination: DestinationConfig) -> Access:
        url, secret_path = self._base_url(destination)
        # A base URL out of the environment may be a secret too: of its path nothing is shown either.
        hidden = not isinstance(destination.base_url, str) or destination.base_url.startswith("env:")
        credentials = Credentials(path=secret_path)
        token_endpoint = self._authenticate(destination.auth, credentials)
        plugin = self._sign(destination.sign, credentials)
        tls_files = self._tls(destination.tls)
        path = "" if hidden else url.path.rstrip("/")
        way = self._proxy(destination.proxy, url)
        return Access(origin(url), path, credentials, token_endpoint, tls_files, self._files, way, plugin)

    # ----------------------------------------------------------------------------------------------- address

    def _base_url(self, destination: DestinationConfig) -> tuple[SplitResult, str]:
        """Return the URL, and its path if that is not to be shown."""
        given = destination.base_url
        if isinstance(given, SecretUrl):
            url = self._url(self._get(given.secret, ("base_url", "secret")).strip(), ("base_url", "secret"))
            if url.netloc and url.hostname not in (given.host, "unresolved.invalid"):
                self._refuse(("base_url", "host"), f"the URL behind {given.secret} has another host")
            return url, url.path.rstrip("/")
        url = self._url(self._text(given, ("base_url",)), ("base_url",))
        return url, url.path.rstrip("/") if given.startswith("env:") else ""

    def _url(self, text: str, path: Path) -> SplitResult:
        if text and (flaw := base_url_flaw(text)):
            self._refuse(path, flaw)
            text = ""
        elif text.lower().startswith("http:") and not self._private:
            self._refuse(path, "the URL sends in the clear", "use https://, or name the private_networks it is in")
        return urlsplit(text or _UNRESOLVED)

    # ---------------------------------------------------------------------------------------- authentication

    def _authenticate(self, auth: Auth | None, credentials: Credentials) -> Origin | None:
        """Fill in header lines and query; return the token endpoint if there is one."""
        if auth is None:
            return None
        if auth.oauth2_client_credentials is not None:
            return self._client_credentials(auth.oauth2_client_credentials, credentials)
        headers: dict[str, str] = {}
        if auth.bearer is not None:
            token = self._line(auth.bearer.token, ("auth", "bearer", "token"))
            headers["Authorization"] = f"Bearer {token}"
        elif auth.basic is not None:
            user = self._open(auth.basic.user, ("auth", "basic", "user"))
            if ":" in user:  # RFC 7617, section 2
                self._refuse(("auth", "basic", "user"), "must have no colon")
            password = self._get(auth.basic.password, ("auth", "basic", "password"))
            headers["Authorization"] = "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
        elif auth.api_key is not None:
            key = self._line(auth.api_key.value, ("auth", "api_key", "value"))
            if auth.api_key.header is not None:
                headers[auth.api_key.header] = key
            else:
                credentials.query = f"{quote(str(auth.api_key.query), safe='')}={quote(key, safe='')}"
        else:
            headers = {each: self._line(ref, ("auth", "headers", each)) for each, ref in auth.headers.items()}
        credentials.lines = "".join(f"{each}: {text}\r\n" for each, text in headers.items()).encode("ascii")
        return None

    def _client_credentials(self, grant: ClientCredentials, credentials: Credentials) -> Origin:
        """Make the token request (RFC 6749, section 4.4.2)."""
        path = ("auth", "oauth2_client_credentials")
        url = self._url(self._text(grant.token_url, (*path, "token_url")), (*path, "token_url"))
        client_id = self._open(grant.client_id, (*path, "client_id"))
        secret = self._get(grant.client_secret, (*path, "client_secret")).strip()
        form = {"grant_type": "client_credentials"}
        form |= {key: text for key, text in (("scope", grant.scope), ("audience", grant.audience)) if text}
        headers = {
            "Host": origin(url).header, "User-Agent": USER_AGENT, "Accept": "application/json",
            "Accept-Encoding": "identity", "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        if grant.client_auth == "body":
            form |= {"client_id": client_id, "client_secret": secret}
        else:  # section 2.3.1: form-encoded first, so that any character may be in them
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode("ascii")
        body = urlencode(form).encode("ascii")
        headers["Content-Length"] = str(len(body))
        lines = "".join(f"{key}: {text}\r\n" for key, text in headers.items())
        credentials.token_request = f"POST {url.path or '/'} HTTP/1.1\r\n{lines}\r\n".encode("ascii"), body
        return origin(url)

    # ----------------------------------------------------------------------------------------------- signing

    def _sign(self, sign: Sign | None, credentials: Credentials) -> tuple[str, Mapping[str, str]] | None:
        """Fill in the signer; return name and options of one that is a plugin."""
        if sign is None:
            return None
        if sign.plugin is not None:
            path = ("sign", "plugin")
            return sign.plugin.name, {key: self._open(text, (*path, key)) for key, text in sign.plugin.options.items()}
        if sign.github is not None:
            credentials.sign = signing.github(self._get(sign.github.secret, ("sign", "github", "secret")).encode())
        elif sign.stripe is not None:
            credentials.sign = signing.stripe(self._get(sign.stripe.secret, ("sign", "stripe", "secret")).encode())
        else:
            shared = sign.standard_webhooks.secrets if sign.standard_webhooks else ()
            private = sign.ed25519.keys if sign.ed25519 else ()
            credentials.sign = signing.signer(
                self._keys(shared, ("sign", "standard_webhooks", "secrets"), signing.signing_key),
                self._keys(private, ("sign", "ed25519", "keys"), signing.private_key),
            )
        return None

    def _keys(self, refs: tuple[str, ...], path: Path, read: Callable[[str], _Key]) -> tuple[_Key, ...]:
        keys = []
        for index, ref in enumerate(refs):
            secret = self._get(ref, (*path, index))
            if secret:
                try:
                    keys.append(read(secret.strip()))
                except ValueError as error:
                    self._refuse((*path, index), f"the secret behind {ref} {error}")
        return tuple(keys)

    # --------------------------------------------------------------------------------------------------- TLS

    def _tls(self, tls: Tls) -> tuple[str, str, str]:
        return (
            self._path(tls.ca, ("tls", "ca")),
            self._path(tls.client_cert, ("tls", "client_cert")),
            self._path(tls.client_key, ("tls", "client_key")),
        )

    def _path(self, ref: str | None, path: Path) -> str:
        if ref is None:
            return ""
        self._files[ref] = self._secrets.version(ref)
        try:
            return str(self._secrets.path(ref))
        except ConfigError as error:
            self._unresolved(path, error)
            return ""

    # ------------------------------------------------------------------------------------------------- proxy

    def _proxy(self, given: str, url: SplitResult) -> Proxy | None:
        """Return the proxy on the way to `url`: written, behind a reference, the environment's. Read at start only."""
        where = ""
        if given == "env":
            given, where = proxy.of_environment(url.scheme, origin(url).header), "the environment's proxy variable "
        elif given.startswith(("env:", "file:")):
            ref = given
            given, where = self._get(ref, ("proxy",)).strip(), f"the URL behind {ref} "
            self._files.pop(ref, None)
        if given in ("none", ""):
            return None
        if flaw := proxy.flaw(given):
            self._refuse(("proxy",), where + flaw)
            return None
        return proxy.parse(given)

    # -------------------------------------------------------------------------------------------- references

    def _get(self, ref: str, path: Path) -> str:
        if ref.startswith("file:"):
            self._files[ref] = self._secrets.version(ref)
        try:
            return self._secrets.get(ref)
        except ConfigError as error:
            self._unresolved(path, error)
            return ""

    def _line(self, ref: str, path: Path) -> str:
        secret = self._get(ref, path).strip()
        if secret and not (secret.isascii() and secret.isprintable()):
            self._refuse(path, f"the secret behind {ref} must be printable ASCII on one line")
            return ""
        return secret

    def _open(self, given: str, path: Path) -> str:
        return self._get(given, path).strip() if given.startswith(("env:", "file:")) else given

    def _text(self, given: str, path: Path) -> str:
        return self._get(given, path).strip() if given.startswith("env:") else given

    def _unresolved(self, path: Path, error: ConfigError) -> None:
        """Say where the reference stands that has no value; the error itself only knows the reference."""
        for each in error.problems:
            self._refuse(path, f"{each.field} {each.message}", each.hint)

    def _refuse(self, path: Path, message: str, hint: str = "") -> None:
        file, where = modes.place(self._config, self._name, path)
        self.problems.append(self._config.problem(file, where, message, hint))
