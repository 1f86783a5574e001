"""All checks: those of a gateway that runs, and those of one that could."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from toolway.plugin import Kernel
from toolway_diagnostics.configuration import literals, others_may_write, tables
from toolway_diagnostics.database import revisions
from toolway_diagnostics.finding import CHECK_SECONDS, Check, Finding, above, error, good, run, warning
from toolway_diagnostics.process import MIB, memory_limit, open_files, resident_bytes
from toolway_diagnostics.reach import upstreams
from toolway_diagnostics.storage import certificates, database, keys
from toolway_diagnostics.versions import misfits
from toolway_diagnostics.watch import Watch

FEW_FILES = 4096


def checks_of_files() -> list[tuple[str, Check]]:
    """What can be looked at without a gateway that runs."""
    return [
        ("database", database),
        ("keys", keys),
        ("certificates", certificates),
        ("plugins", plugins),
        ("upstreams", upstreams),
    ]


def checks_of_process(watch: Watch) -> list[tuple[str, Check]]:
    """All of a gateway that runs."""

    async def loop(kernel: Kernel) -> Sequence[Finding]:
        lag, todo = watch.worst_lag, "use more workers, or find what blocks it in the tasks of toolway diagnose"
        return [above("event loop", lag, (0.25, 1.0), f"late by at most {lag * 1000:.0f} ms in the last minute", todo)]

    async def migrations(kernel: Kernel) -> Sequence[Finding]:
        now, todo = await revisions(kernel.database), "upgrade the packages of this node and start it anew"
        moved = sorted(name for name in now if now[name] != watch.revisions.get(name))
        if moved:
            return [error("migrations", f"another node migrated {', '.join(moved)} to a newer revision", todo)]
        return [good("migrations", f"{len(now)} histories, as when this node began")]

    extra: list[tuple[str, Check]] = [("configuration", configuration), ("migrations", migrations), ("health", health)]
    return [*extra, *checks_of_files(), ("files", files), ("memory", memory), ("event loop", loop)]


async def of_running(kernel: Kernel, watch: Watch, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """What is found in a gateway that runs."""
    return await run(checks_of_process(watch), kernel, seconds)


async def configuration(kernel: Kernel) -> Sequence[Finding]:
    """The files, and what of them is not in force."""
    found, read = list(kernel.catalog.problems), kernel.control.files()
    findings = [error("configuration", each, "correct it where it is declared") for each in found]
    for file in read:
        if not await asyncio.to_thread(file.is_file):
            findings.append(error("configuration", f"{file} is gone", "restore it: the next start or reload needs it"))
        elif await asyncio.to_thread(others_may_write, file):
            findings.append(warning("configuration", f"everybody may change {file}", f'run "chmod o-w {file}"'))
    for path in literals(tables(kernel.config)):
        todo = "put it into a file or the environment, and write file: or env:"
        findings.append(warning("configuration", f"{path} uses literal:, which is for tests", todo))
    return findings or [good("configuration", ", ".join(map(str, read)) or "no file")]


async def health(kernel: Kernel) -> Sequence[Finding]:
    """What `/ready` looks at."""
    answers = await asyncio.gather(*(_checked(each.check()) for each in kernel.health_checks))
    named = [(check, answer) for check, answer in zip(kernel.health_checks, answers, strict=True) if answer]
    findings = [
        (error if check.critical else warning)("health", f"{check.name}: {answer}", "see the log for more")
        for check, answer in named
    ]
    return findings or [good("health", f"{kernel.phase}, {len(answers)} checks are well")]


async def _checked(check: object) -> str:
    try:
        async with asyncio.timeout(2):
            return str(await check)  # type: ignore[misc]
    except TimeoutError:
        return "no answer within 2 s"
    except Exception as failure:  # noqa: BLE001 - of whichever plugin
        return f"it failed with {type(failure).__name__}"


async def plugins(kernel: Kernel) -> Sequence[Finding]:
    """What could not be loaded, and what does not fit together."""
    known = kernel.plugins
    enabled = [each for each in known if each["state"] != "installed"]
    findings = [
        (warning if each["state"] == "quarantined" else error)(
            "plugins",
            f"{each['name']} is {each['state']}: {each['error']}",
            "mend it, or remove it from plugins.enable",
        )
        for each in enabled
        if each["state"] != "enabled"
    ]
    findings += [
        error("plugins", each, "install versions that fit, such as with pip install --upgrade")
        for each in await asyncio.to_thread(lambda: list(misfits()))
    ]
    return findings or [good("plugins", f"{len(enabled)} of {len(known)} installed ones are enabled, all fit")]


async def files(kernel: Kernel) -> Sequence[Finding]:
    """Open files of this process."""
    import resource

    used, most = await asyncio.to_thread(open_files), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    todo = "let the process open more files (LimitNOFILE of systemd, ulimit -n), or lower gateway.limits.connections"
    if most < FEW_FILES:
        return [warning("files", f"{used} of only {most} are open", todo)]
    return [above("files", used / most, (0.6, 0.8), f"{used} of {most} are open", todo)]


async def memory(kernel: Kernel) -> Sequence[Finding]:
    """Memory of this process."""
    used, most = resident_bytes(), memory_limit()
    if not most:
        return [good("memory", f"{used // MIB} MiB")]
    todo = "give it more, or lower gateway.limits"
    return [above("memory", used / most, (0.7, 0.85), f"{used // MIB} MiB of {most // MIB} MiB", todo)]
