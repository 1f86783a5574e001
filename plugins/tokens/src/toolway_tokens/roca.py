"""RSA keys that a broken generator made and that can be factored (ROCA, CVE-2017-15361).

Their primes are powers of 65537 modulo a product of small primes; then so is the modulus. For a good key, that holds
for all of these small primes by chance once in more than 10**8 (Nemec et al., "The Return of Coppersmith's Attack",
2017).
"""

from __future__ import annotations

from functools import cache

GENERATOR = 65537
PRIMES = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109),
    *(113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)


@cache
def _powers(prime: int) -> frozenset[int]:
    found, value = set[int](), 1
    while value not in found:
        found.add(value)
        value = value * GENERATOR % prime
    return frozenset(found)


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether a modulus looks like one of the broken generator's."""
    return all(modulus % prime in _powers(prime) for prime in PRIMES)
