"""Dynamic users of a PostgreSQL server, made by OpenBao."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import psycopg
from openbao import OpenBao, unique

from toolway_testing.postgres import Postgres, execute

CREATE = "create role \"{{name}}\" login password '{{password}}' valid until '{{expiration}}'"
PASSWORD = "of-the-administrator"


@dataclass(frozen=True)
class Users:
    """The path of a role: each reading of it is a new user."""

    postgres: Postgres
    path: str

    def names(self) -> set[str]:
        """Users that there are now."""
        return {name for (name,) in self.rows("select rolname from pg_roles where rolname like 'v-%'")}

    def rows(self, query: str) -> list[tuple[str, ...]]:
        with psycopg.connect(self.postgres.url().replace("+psycopg", "")) as connection:
            return connection.execute(query.encode()).fetchall()

    async def logged_in(self, user: str, password: str) -> str:
        """The name that PostgreSQL knows this user by. Raises OperationalError."""
        url = f"postgresql://{quote(user)}:{quote(password)}@127.0.0.1:{self.postgres.port}/postgres"
        async with await psycopg.AsyncConnection.connect(url) as connection:
            row = await (await connection.execute("select current_user")).fetchone()
        return str(row[0]) if row else ""


def dynamic_users(openbao: OpenBao, postgres: Postgres, ttl: str, max_ttl: str, owner: str = "") -> Users:
    """Users whose lease is this long, and this long at most after renewals; what they make belongs to the owner."""
    administrator = unique("admin").replace("-", "_")
    execute(postgres, f"create role {administrator} superuser login password '{PASSWORD}'")
    mount = unique("database")
    openbao.admin.sys.enable_secrets_engine("database", path=mount)
    openbao.admin.secrets.database.configure(
        "postgres",
        "postgresql-database-plugin",
        allowed_roles=["reader"],
        username=administrator,
        password=PASSWORD,
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres?sslmode=disable",
        mount_point=mount,
    )
    belonging = [f'grant {owner} to "{{{{name}}}}"', f'alter role "{{{{name}}}}" set role {owner}'] if owner else []
    openbao.admin.secrets.database.create_role(
        "reader", "postgres", [CREATE, *belonging], default_ttl=ttl, max_ttl=max_ttl, mount_point=mount
    )
    return Users(postgres, f"{mount}/creds/reader")
