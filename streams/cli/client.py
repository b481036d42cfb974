"""A small client of the API for the first minutes: it speaks GraphQL over HTTP, as any other client would.

It keeps the passwords of the accounts that it made, and which post was the last, in a file of the data directory.
"""

import hashlib
import json
import os
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from domain.name import checked
from domain.refusal import Refusal
from infra.failures import Failure
from infra.instance import Instance, running
from infra.settings import Settings, load_settings
from streams.cli.console import Refused

FILE_NAME = "client.json"
SECONDS_MAX = 30.0
"""How long one answer may take."""
VIEWS_ATTEMPTS = 5
"""Times that what was changed is asked for while the views have not seen it; the API waits for them each time."""

_SIGN_IN = """
mutation ($input: SignInInput!) { signIn(input: $input) { accessToken errors { code message } } }
"""
_SIGN_UP = """
mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken errors { code message } } }
"""


class NotServing(Failure):
    """No ``moot up`` serves this folder, or no API answers where one was named."""


class Saved(Struct):
    """What the client remembers between two commands."""

    passwords: dict[str, str] = field(default_factory=dict)
    account: str = "ada"
    post_id: str = ""
    wish: str = ""
    """What was asked for last, as a hash, until its answer is shown; with ``wish_key`` it happens once."""
    wish_key: str = ""


class Client:
    """Talks to the API of a fleet, where one is named, or to the ``moot up`` of a data directory.

    Raises ``NotServing`` when there is neither.
    """

    def __init__(self, data_dir: Path | None) -> None:
        self.settings: Settings = load_settings(data_dir=data_dir)
        instance = _at(self.settings.api_url) if self.settings.api_url else running(self.settings.data_dir)
        if instance is None or not instance.graphql:
            raise NotServing(
                f"Nothing serves {self.settings.data_dir}.",
                "This command talks to the API.",
                "Start it: ./task up. For the API of a fleet, set MOOT_API_URL.",
            )
        self.settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.instance: Instance = instance
        self.saved = self._load()
        self.token: str | None = None

    def save(self) -> None:
        """Remember. The file is for its owner alone. Accounts that another command made meanwhile stay known."""
        self.saved.passwords = self._load().passwords | self.saved.passwords
        path = self.settings.data_dir / FILE_NAME
        draft = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self.saved))
        draft.replace(path)

    def become(self, name: str | None) -> str:
        """Sign in as that account, or as the one of last time; sign it up if it is new here. Gives its name.

        Raises ``Refused`` when the account exists and this client does not know its password.
        """
        name = name or self.saved.account
        password = self.saved.passwords.get(name.lower())
        if password is not None:
            answer = self.ask(_SIGN_IN, {"input": {"nameOrEmail": name, "password": password}})["signIn"]
            # The data directory may be new and the password an old one's: then the name is free to be signed up.
            if [code_of(error) for error in answer["errors"]] != ["CREDENTIALS_INVALID"]:
                refuse(answer["errors"], "Wait a moment and run this again.")
            self.token = answer["accessToken"]
        if self.token is None:
            password = secrets.token_urlsafe(18)
            form = {"name": name, "email": f"{name.lower()}@example.org", "password": password}
            answer = self.ask(_SIGN_UP, {"input": form})["signUp"]
            if answer["errors"]:
                # The address is made of the name here: where that is wrong, nobody wants to hear of an address.
                _check_name(name, self.settings)
            refuse(answer["errors"], "Choose another name: --as NAME")
            self.token = answer["accessToken"]
            self.saved.passwords[name.lower()] = password
        self.saved.account = name
        self.save()
        return name

    def renew(self, name: str) -> None:
        """Sign in once more as an account that this client became before. Raises ``Refused``, remembers nothing."""
        self.token = None
        form = {"nameOrEmail": name, "password": self.saved.passwords[name.lower()]}
        answer = self.ask(_SIGN_IN, {"input": form})["signIn"]
        refuse(answer["errors"], "Run this again.")
        self.token = answer["accessToken"]

    def carry_out(self, mutation: str, form: dict[str, Any], changed: str, fix: str) -> dict[str, Any]:
        """The answer to a mutation that has one field and takes ``$input``. Raises ``Refused`` with that ``fix``.

        What is wished for by one command happens once, also when that is run again because its answer was lost.
        ``changed`` names what the answer shows of it: ``None`` after ``VIEWS_ATTEMPTS`` if the views have not seen it.
        """
        said = json.dumps([self.saved.account, mutation, form], sort_keys=True)
        wish = hashlib.sha256(said.encode()).hexdigest()
        if self.saved.wish != wish:
            self.saved.wish, self.saved.wish_key = wish, secrets.token_urlsafe(18)
            self.save()
        for _ in range(VIEWS_ATTEMPTS):
            asked = {"input": form | {"idempotencyKey": self.saved.wish_key}}
            (answer,) = self.ask(mutation, asked).values()
            if answer["errors"] or answer[changed] is not None:
                self.saved.wish = self.saved.wish_key = ""
                self.save()
                refuse(answer["errors"], fix)
                break
        found: dict[str, Any] = answer
        return found

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data of one operation. Raises ``Refused`` for an error of the whole request, ``NotServing`` for none."""
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.instance.graphql, body, headers)  # noqa: S310 - our own URL
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_MAX) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            answer = self._refusal(error)
        except urllib.error.URLError as error:
            raise self._nobody("Nothing answers", f"{error.reason}") from error
        except ValueError as error:
            raise self._nobody("Something else than Moot answers", "It is no JSON.") from error
        refuse(answer.get("errors") or [], "See what the server says: moot doctor")
        data: dict[str, Any] = answer["data"]
        return data

    def _refusal(self, error: urllib.error.HTTPError) -> Any:
        """What the API said with an HTTP status of its own."""
        try:
            answer = json.load(error)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "errors" not in answer:
            raise self._nobody("Something else than Moot answers", f"HTTP {error.code} {error.reason}.") from error
        return answer

    def _nobody(self, what: str, why: str) -> NotServing:
        named = self.settings.api_url is not None
        fix = "Start it (moot api), or correct MOOT_API_URL." if named else "Start it: ./task up"
        return NotServing(f"{what} at {self.instance.graphql}.", why, fix)

    def _load(self) -> Saved:
        try:
            return msgspec.json.decode((self.settings.data_dir / FILE_NAME).read_bytes(), type=Saved)
        except (FileNotFoundError, msgspec.DecodeError):
            return Saved()


def _at(url: str) -> Instance:
    """An API somewhere, as if it were this machine's."""
    place = url.rstrip("/")
    return Instance(pid=0, graphql=f"{place}/graphql", websocket=f"ws{place.removeprefix('http')}/graphql")


def _check_name(name: str, settings: Settings) -> None:
    try:
        checked("account", name, settings.rules)
    except Refusal as refusal:
        raise Refused(refusal.message, f"{name!r} cannot be a name.", "Choose another name: --as NAME") from None


def refuse(errors: list[dict[str, Any]], fix: str) -> None:
    """Raise ``Refused`` with what the API said, if it said no."""
    if errors:
        raise Refused(errors[0]["message"], f"The API answered {code_of(errors[0])}.", fix)


def code_of(error: dict[str, Any]) -> str:
    """The stable code of an error, wherever its shape has it."""
    return str(error.get("code") or error.get("extensions", {}).get("code", "ERROR"))
