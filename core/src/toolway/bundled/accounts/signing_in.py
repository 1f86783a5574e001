"""Signing in and out, and passwords, as operations of the REST API."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, SecretStr
from starlette.responses import Response

from toolway.bundled.accounts.definitions import LOCAL
from toolway.bundled.accounts.entities import PART, demand_administrator, end_sessions, next_revision
from toolway.bundled.accounts.links import account_of
from toolway.bundled.accounts.lockout import Lockout
from toolway.bundled.accounts.models import AccountRow, SessionRow
from toolway.bundled.accounts.passwords import LONGEST, SHORTEST, Passwords, set_password
from toolway.bundled.accounts.sessions import BEARER, COOKIE, Sessions, end
from toolway.hookspecs.accounts import ADMIN, Account, TeamRole
from toolway.hookspecs.api import ANY, PUBLIC, SIGNED_IN, Incoming, Operation, Page, document
from toolway.hookspecs.auth import WRONG, AuthContext, Identity, PasswordVerifier, Resource, csrf_token
from toolway.hookspecs.system import Transaction
from toolway.hookspecs.telemetry import SERVED
from toolway.plugin import Forbidden, InvalidInput, Kernel, NotFound, Unauthenticated

COOKIE_NAME = "__Host-toolway-session"
COOKIE_FLAGS = "Path=/; Secure; HttpOnly; SameSite=Lax"


def _long_enough(password: SecretStr) -> SecretStr:
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"should have {SHORTEST} to {LONGEST} characters")
    return password


_LENGTHS = Field(json_schema_extra={"minLength": SHORTEST, "maxLength": LONGEST})
NewPassword = Annotated[SecretStr, AfterValidator(_long_enough), _LENGTHS]

audit = logging.getLogger("toolway.audit")


class SignIn(BaseModel, extra="forbid"):
    """A user name and its password."""

    username: str = Field(min_length=1, max_length=256, description="As the account's provider knows it.")
    password: SecretStr = Field(max_length=1024)
    bearer: bool = Field(False, description="Answer with a token for `Authorization: Bearer` instead of a cookie.")


class PasswordOf(BaseModel, extra="forbid"):
    """What an administrator sets."""

    password: NewPassword


class PasswordChange(BaseModel, extra="forbid"):
    """What users set themselves."""

    old_password: SecretStr = Field(max_length=1024)
    new_password: NewPassword


class Who(BaseModel):
    """The account of whoever asks."""

    id: str = Field(description="`user:<name>` or `service:<name>`, unless it has no account.")
    kind: str
    name: str
    display_name: str = ""
    admin: bool = False
    teams: Mapping[str, TeamRole] = Field({}, description="What it is in each of its teams.")


class SignedIn(BaseModel):
    """Who is asking, with what."""

    account: Who
    credential: str = Field(description="Its name, such as `session:…`; never its value.")
    csrf: str | None = Field(None, description="To be sent as `X-CSRF-Token` with changes, for session cookies.")
    expires_at: float | None = Field(None, description="When the session ends at the latest, Unix seconds.")


class NewSession(SignedIn):
    """The answer to a sign-in."""

    token: str | None = Field(None, description="Only if asked for: the bearer token, shown once.")


class OwnSession(BaseModel):
    """One of the own sessions; times are Unix seconds."""

    name: str
    current: bool = Field(description="Whether it is the one that asks.")
    created_at: float
    seen_at: float = Field(description="When it was last used, give or take a minute.")
    ends_at: float = Field(description="When it ends unless it is used before.")
    expires_at: float = Field(description="When it ends at the latest.")
    address: str
    client: str


class SigningIn:
    """Finds out whose password it is, and opens and ends sessions."""

    def __init__(self, kernel: Kernel, sessions: Sessions, passwords: Passwords) -> None:
        self._kernel = kernel
        self._sessions = sessions
        self._passwords = passwords
        self._lockout = Lockout(kernel.keyvalue, kernel.clock)

    def operations(self) -> Iterable[Operation]:
        """What the API offers."""
        session, password = "/api/v1/session", "/api/v1/session/password"
        users, one, gone = "/api/v1/users/{name}/password", "/api/v1/sessions/{name}", (204,)
        return [
            Operation("POST", session, PUBLIC, self.sign_in, SignIn, answer=NewSession, success=(201,)),
            Operation("GET", session, SIGNED_IN, self.who, answer=SignedIn),
            Operation("DELETE", session, SIGNED_IN, self.sign_out, success=gone),
            Operation("PUT", password, SIGNED_IN, self.change_password, PasswordChange, success=gone),
            Operation("GET", "/api/v1/sessions", SIGNED_IN, self.list_own, answer=Page[OwnSession]),
            Operation("DELETE", one, SIGNED_IN, self.end_own, success=gone),
            Operation("PUT", users, "users:write", self.set_password, PasswordOf, success=gone),
        ]

    async def sign_in(self, incoming: Incoming) -> Response:
        """Open a session with a user name and password."""
        body: SignIn = incoming.body
        scheme = BEARER if body.bearer else COOKIE
        opened = await self._lockout.attempt(body.username, incoming.address, lambda: self._open(incoming, scheme))
        if opened is None:
            _tell(f"user:{body.username}"[:64], "sessions.refuse", incoming)
            raise Unauthenticated("the user name or the password is wrong, or the account is disabled")
        account, row, value = opened
        _tell(account.id, "sessions.create", incoming, row.name)
        who = Who.model_validate(account, from_attributes=True).model_copy(update={"teams": self._teams(account.id)})
        csrf, token = (None, value) if body.bearer else (csrf_token(value), None)
        answer = NewSession(
            account=who, credential=f"session:{row.name}", csrf=csrf, expires_at=row.expires_at, token=token
        )
        return document(answer, 201, {} if body.bearer else _cookie(value))

    async def who(self, incoming: Incoming) -> SignedIn:
        """Say who is asking."""
        principal, row = incoming.principal, await self._session(incoming)
        account, value = self._kernel.accounts.get(principal.id), incoming.request.cookies.get(COOKIE_NAME)
        is_cookie = row is not None and value is not None and "authorization" not in incoming.headers
        nobody = Who(id=principal.id, kind=principal.kind, name=principal.name, admin=ADMIN in principal.scopes)
        return SignedIn(
            account=Who.model_validate(account, from_attributes=True) if account else nobody,
            credential=principal.credential,
            csrf=csrf_token(value) if is_cookie and value else None,
            expires_at=row.expires_at if row else None,
        )

    async def sign_out(self, incoming: Incoming) -> Response:
        """End the session that asks."""
        own = _own_session(incoming)
        async with self._kernel.database.write() as tx:
            if (row := await tx.session.get(SessionRow, own)) is not None:
                await end(tx, row)
        _tell(incoming.principal.id, "sessions.delete", incoming, own)
        await self._kernel.catalog.reload()  # so that this node forgets it before it answers
        return Response(status_code=204, headers=_cookie("", "; Max-Age=0"))

    async def list_own(self, incoming: Incoming) -> Page[OwnSession]:
        """List the own sessions, newest first."""
        account = self._unlimited(incoming)
        async with self._kernel.database.read() as tx:
            rows = await self._sessions.of(tx, account.id)
        return Page(items=[self._shown(row, incoming) for row in rows], next_cursor=None)

    async def end_own(self, incoming: Incoming) -> Response:
        """End one of the own sessions."""
        account = self._unlimited(incoming)
        async with self._kernel.database.write() as tx:
            row = await tx.session.get(SessionRow, incoming.name)
            if row is None or row.account != account.id:
                raise NotFound(f"sessions has no {incoming.name!r}")
            await end(tx, row)
        _tell(account.id, "sessions.delete", incoming, incoming.name)
        await self._kernel.catalog.reload()
        return Response(status_code=204)

    async def change_password(self, incoming: Incoming) -> Response:
        """Change the own password; the other sessions end."""
        account, own, body = self._unlimited(incoming), _own_session(incoming), incoming.body
        old = body.old_password.get_secret_value()
        checked = await self._lockout.attempt(account.name, incoming.address, lambda: self._verify(account.name, old))
        if checked is None:
            raise Forbidden("the old password is wrong; ask an administrator for a new one if it is lost")
        await self._set(incoming, account.name, body.new_password, own)
        return Response(status_code=204)

    async def set_password(self, incoming: Incoming) -> Response:
        """Set the password of a user, whose sessions end."""
        await self._set(incoming, incoming.name, incoming.body.password)
        return Response(status_code=204)

    async def _open(self, incoming: Incoming, scheme: str) -> tuple[AccountRow, SessionRow, str] | None:
        body: SignIn = incoming.body
        async with self._kernel.database.read() as tx:
            before = await tx.session.get(AccountRow, f"user:{body.username}")
        identity = await self._verify(body.username, body.password.get_secret_value())
        if identity is None:
            return None
        context = AuthContext(None, incoming.address, "", incoming.headers.get("user-agent", ""))
        async with self._kernel.database.write() as tx:
            account = await account_of(tx, identity)
            if account is None or await self._is_outdated(tx, before, account):
                return None
            return account, *await self._sessions.open(tx, account.id, scheme, context)

    async def _is_outdated(self, tx: Transaction, before: AccountRow | None, account: AccountRow) -> bool:
        """Whether the account was changed while its password was verified, so that this may be the old one."""
        await tx.session.refresh(account, with_for_update=True)
        return before is not None and before.id == account.id and before.revision != account.revision

    async def _verify(self, username: str, password: str) -> Identity | None:
        """Whose password it is; None is nobody's."""
        for verifier in self._verifiers(username):
            found = await verifier.verify(username, password)
            if isinstance(found, Identity):
                return found
            if found is WRONG:
                return None
        return None

    def _verifiers(self, username: str) -> Sequence[PasswordVerifier]:
        """Who may answer: the provider of the account, or everybody when there is none of that name.

        Where the provider is gone, the first one takes its time to say that it does not know them.
        """
        every, account = self._kernel.password_verifiers, self._kernel.accounts.get(f"user:{username}")
        if account is None:
            return every
        return [each for each in every if each.name == account.provider] or every[:1]

    async def _set(self, incoming: Incoming, name: str, password: SecretStr, own_session: str = "") -> None:
        """Set the password of a user; with an own session it is that user who asks."""
        hashed, account = await self._passwords.hash(password.get_secret_value()), f"user:{name}"
        async with self._kernel.database.change(PART, incoming.principal.id, "users.password", f"users/{name}") as tx:
            row = await tx.session.get(AccountRow, account)
            if row is None:
                raise NotFound(f"users has no {name!r}")
            if not own_session and (row.admin or self._is_administrator(account)):
                demand_administrator(incoming)
            _demand_local(row)
            row.revision = next_revision(tx, row.revision)
            await set_password(tx, account, hashed)
            await end_sessions(tx, account, own_session)
        await self._kernel.catalog.reload()

    def _is_administrator(self, account_id: str) -> bool:
        """Whether an account may do everything, by whatever it is given: a new password would give that away."""
        account = self._kernel.accounts.get(account_id)
        if account is None or not account.enabled:
            return False
        return self._kernel.authorized(self._kernel.accounts.principal(account_id, ""), "admin:write", Resource(ANY))

    async def _session(self, incoming: Incoming) -> SessionRow | None:
        kind, _, name = incoming.principal.credential.partition(":")
        if kind != "session":
            return None
        async with self._kernel.database.read() as tx:
            row: SessionRow | None = await tx.session.get(SessionRow, name)
        return row

    def _unlimited(self, incoming: Incoming) -> Account:
        """The own account; a credential with limits must not reach beyond them through it."""
        account = self._kernel.accounts.get(incoming.principal.id)
        if account is None or incoming.principal.limits is not None:
            raise Forbidden("only a user with a session or another credential without limits can do this; sign in")
        return account

    def _teams(self, account_id: str) -> Mapping[str, TeamRole]:
        account = self._kernel.accounts.get(account_id)
        return account.teams if account else {}

    def _shown(self, row: SessionRow, incoming: Incoming) -> OwnSession:
        return OwnSession(
            **row.model_dump(include={"name", "created_at", "seen_at", "expires_at", "address", "client"}),
            current=incoming.principal.credential == f"session:{row.name}",
            ends_at=self._sessions.end_of(row),
        )


def _tell(actor: str, action: str, incoming: Incoming, session: str = "") -> None:
    """To the trail of changes: who signs in and out, or fails to, and from where."""
    told = {"actor": actor, "action": action, "object": f"sessions/{session}", "address": incoming.address}
    audit.info("%s", json.dumps(told))
    if (served := SERVED.get()) is not None:
        served.told = actor, action, told["object"]


def _own_session(incoming: Incoming) -> str:
    kind, _, name = incoming.principal.credential.partition(":")
    if kind != "session":
        raise InvalidInput("this credential is no session; sign in with POST /api/v1/session first")
    return name


def _demand_local(row: AccountRow) -> None:
    if row.provider != LOCAL:
        raise InvalidInput(f"{row.id} has no local password, {row.provider!r} verifies it; change its provider first")


def _cookie(value: str, more: str = "") -> Mapping[str, Any]:
    return {"set-cookie": f"{COOKIE_NAME}={value}; {COOKIE_FLAGS}{more}"}
