"""Keys that sign tokens: each is used with one algorithm, and named by the thumbprint of its public key (RFC 7638)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from toolway_tokens.roca import has_roca_fingerprint

Algorithm = Literal["ES256", "RS256", "EdDSA"]
Key = ECKey | OKPKey | RSAKey

MAX_KID = 128

_NAMES = {"ES256": "ES256", "RS256": "RS256", "EdDSA": "Ed25519"}
"""`alg` in headers: RFC 9864 has replaced `EdDSA`, which does not say which curve, by the name of the curve."""
_KINDS: dict[str, Any] = {"ES256": ECKey, "RS256": RSAKey, "Ed25519": OKPKey}
_CURVES = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "Ed25519"}
_RSA_BITS = range(2048, 8193)
_FACTS = frozenset({"kty", "crv", "x", "y", "n", "e"})


class UnusableKey(ValueError):
    """A key that must not be used; the text says why, without the key."""


class VerifyingKey(msgspec.Struct, frozen=True):
    """A public key and the one algorithm that it is used with; a token's own `alg` only has to agree."""

    kid: str
    alg: str
    key: Key


class SigningKey(msgspec.Struct, frozen=True):
    """A private key with its algorithm."""

    kid: str
    alg: str
    key: Key

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"

    @property
    def public(self) -> dict[str, Any]:
        """The public key as JWK (RFC 7517)."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.alg, "use": "sig"}

    @property
    def private(self) -> bytes:
        """The private key as JWK, to be stored encrypted."""
        return msgspec.json.encode(self.key.as_dict(private=True))


def generated(algorithm: Algorithm) -> SigningKey:
    """A new key; RSA takes a tenth of a second and more, so call it in a thread."""
    key: Key
    if algorithm == "RS256":
        key = RSAKey.generate_key(3072)
    elif algorithm == "EdDSA":
        key = OKPKey.generate_key("Ed25519")
    else:
        key = ECKey.generate_key("P-256")
    return SigningKey(key.thumbprint(), _NAMES[algorithm], key)


def algorithm_name(algorithm: Algorithm) -> str:
    """What headers and JWKs call it."""
    return _NAMES[algorithm]


def signing_key(text: str) -> SigningKey:
    """The private key in PEM (without a password) or JWK; raises UnusableKey."""
    for kind in _KINDS.values():
        key = _imported(kind, text)
        if key is None:
            continue
        if not key.is_private:
            raise UnusableKey("it is a public key; give the private one")
        return SigningKey(key.thumbprint(), _algorithm(key.as_dict(private=False)), key)
    raise UnusableKey("it is no private key in PEM (without a password) or JWK")


def verifying_key(jwk: Mapping[str, Any]) -> VerifyingKey:
    """The public key in a JWK that names itself (`kid`); raises UnusableKey."""
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise UnusableKey(f"its kid must be 1 to {MAX_KID} characters")
    alg = _algorithm(jwk)
    try:
        facts = {name: value for name, value in jwk.items() if name in _FACTS}
        return VerifyingKey(kid, alg, _KINDS[alg].import_key(facts))
    except (JoseError, ValueError, TypeError, KeyError):
        raise UnusableKey("it is no valid public key") from None


def key_set(jwks: Iterable[Mapping[str, Any]]) -> dict[str, VerifyingKey]:
    """Public keys by `kid`; raises UnusableKey, also for two with one name: nobody could tell which is meant."""
    found: dict[str, VerifyingKey] = {}
    for jwk in jwks:
        key = verifying_key(jwk)
        if key.kid in found:
            raise UnusableKey(f"two keys have the kid {key.kid!r}")
        found[key.kid] = key
    return found


def _imported(kind: Any, text: str) -> Any:
    try:
        value = msgspec.json.decode(text) if text.lstrip().startswith("{") else text
        with warnings.catch_warnings():  # of short keys, which are refused anyway
            warnings.simplefilter("ignore")
            return kind.import_key(value)
    except (JoseError, ValueError, TypeError, AttributeError, KeyError):
        return None


def _algorithm(jwk: Mapping[str, Any]) -> str:
    """The algorithm of a key for signatures, by its type alone; raises UnusableKey for all others."""
    kty, crv = str(jwk.get("kty")), str(jwk.get("crv"))
    if kty == "RSA":
        _check_rsa(jwk)
        found = "RS256"
    elif (kty, crv) in _CURVES:
        found = _CURVES[kty, crv]
    else:
        raise UnusableKey("it is neither P-256, Ed25519 nor RSA")
    if jwk.get("alg", found) not in (found, "EdDSA" if found == "Ed25519" else found):
        raise UnusableKey("it is for another algorithm")
    if jwk.get("use", "sig") != "sig" or {"sign", "verify"}.isdisjoint(jwk.get("key_ops", ["verify"])):
        raise UnusableKey("it is not for signatures")
    return found


def _check_rsa(jwk: Mapping[str, Any]) -> None:
    from joserfc.util import urlsafe_b64decode

    try:
        modulus, exponent = (int.from_bytes(urlsafe_b64decode(jwk[name].encode())) for name in ("n", "e"))
    except (ValueError, AttributeError, KeyError):
        raise UnusableKey("it is no valid public key") from None
    if modulus.bit_length() not in _RSA_BITS:
        raise UnusableKey(f"RSA keys must have {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits")
    if exponent < 65537 or exponent % 2 == 0:  # NIST SP 800-56B section 6.2
        raise UnusableKey("its RSA exponent is too small or even")
    if has_roca_fingerprint(modulus):
        raise UnusableKey("it was made by a broken generator (ROCA, CVE-2017-15361)")
