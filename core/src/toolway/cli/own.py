"""Commands on who I am: profiles, the account signed in, its sessions; and on how the gateway is."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.cli.accounts import SESSION, sign_in
from toolway.cli.client import FAILED, Client, client, known_profiles
from toolway.cli.profile import Profile, Profiles, chosen, load_profile, options, save_profile
from toolway.cli.show import as_json, note, show


def _saved_names(incomplete: str) -> list[str]:
    return [name for name in Profiles.load().saved if name.startswith(incomplete)]


ProfileName = Annotated[str, typer.Argument(help="Its name.", autocompletion=_saved_names)]
SessionName = Annotated[str, typer.Argument(help="Its name, as listed.")]

profiles = typer.Typer(no_args_is_help=True, help="Gateways that you are logged in to.")
sessions = typer.Typer(no_args_is_help=True, help="Where you are signed in as a user.")


def login(
    user: Annotated[str | None, typer.Option(help="Sign in as this user, whose password is asked for.")] = None,
) -> None:
    """Sign in with a token or as a user, and keep it for the next commands.

    Give a token with --token, or type it when asked; it is kept together with the URL, as the profile that --profile
    names, which is in use from then on.
    """
    api = Client(load_profile())
    options.token = sign_in(api, user) if user else options.token or typer.prompt("Token", hide_input=True)
    profile = load_profile()
    Client(profile).api("GET", "/session")
    path = save_profile(profile)
    note(f"logged in to {profile.url}; saved in {path}")


def logout() -> None:
    """End the session of the saved profile, and forget its token."""
    api = client()
    if (api.profile.token or "").startswith(SESSION):
        api.api("DELETE", "/session")
    known = Profiles.load()
    known.saved[chosen()] = Profile(api.profile.url)
    known.save()
    note(f"logged out of {api.profile.url}")


@profiles.command("list")
def list_profiles() -> None:
    """List them; the one in use is marked."""
    saved = Profiles.load().saved
    rows = [
        {
            "name": name,
            "in_use": "yes" if name == chosen() else "",
            "url": each.url,
            "token": "saved" * bool(each.token),
        }
        for name, each in sorted(saved.items())
    ]
    show("profiles", rows, ("name", "in_use", "url", "token"))


@profiles.command("use")
def use_profile(name: ProfileName) -> None:
    """Use one from now on, when neither --profile nor TOOLWAY_PROFILE names another."""
    known = known_profiles(name)
    known.current = name
    known.save()
    note(f"commands talk to {known.saved[name].url} from now on")


@profiles.command("remove")
def remove_profile(name: ProfileName) -> None:
    """Forget one, with its token; a session goes on until it ends by itself (end it with `toolway logout`)."""
    known = known_profiles(name)
    del known.saved[name]
    known.save()
    note(f"profile {name} removed")


def whoami() -> None:
    """Show as whom the gateway knows you, and by which credential."""
    as_json({"url": load_profile().url, **client().api("GET", "/session")})


def password() -> None:
    """Change your own password, which is asked for; your other sessions end."""
    current = typer.prompt("Current password", hide_input=True)
    new = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    client().api("PUT", "/session/password", {"old_password": current, "new_password": new})
    note("your password is changed")


@sessions.command("list")
def list_sessions() -> None:
    """List them; the one that asks is marked."""
    rows = [
        {
            **one,
            "current": "yes" if one["current"] else "",
            "seen": time.strftime("%Y-%m-%d %H:%M", time.localtime(one["seen_at"])),
        }
        for one in client().api("GET", "/sessions")["items"]
    ]
    show("sessions", rows, ("name", "current", "seen", "address", "client"))


@sessions.command("end")
def end_session(name: SessionName) -> None:
    """End one at once."""
    client().api("DELETE", f"/sessions/{quote(name, safe='')}")
    note(f"session {name} ended")


def status() -> None:
    """Show how the gateway is: its checks, its upstreams, and what of its configuration is not in force.

    The exit code is 1 when it is not ready for requests.
    """
    found = client().api("GET", "/health")
    if options.json:
        as_json(found)
    else:
        _tell(found)
    if not found["ready"]:
        raise typer.Exit(FAILED)


def _tell(found: dict[str, Any]) -> None:
    upstreams = ", ".join(f"{count} {state}" for state, count in found["upstreams"].items()) or "none"
    print(f"{load_profile().url} is {found['phase']} and {'ready' if found['ready'] else 'NOT ready'}")
    print(f"toolway {found['version']}, snapshot {found['snapshot']}, upstreams: {upstreams}\n")
    rows = [
        {"check": each["name"], "state": "ok" if each["ok"] else "failed", "detail": each["detail"]}
        for each in found["checks"]
    ]
    show("checks", rows, ("check", "state", "detail"))
    for problem in found["problems"]:
        print(f"\nproblem: {problem}")
