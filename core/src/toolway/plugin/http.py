"""The guarded HTTP client, as plugins import it; apart from `toolway.plugin`, because it loads an HTTP library."""

from toolway.edge.egress import (
    EgressGuard as EgressGuard,
    EgressRefused as EgressRefused,
    RefusedAddress as RefusedAddress,
    check_url as check_url,
)
from toolway.edge.outgoing import (
    CONNECT_SECONDS as CONNECT_SECONDS,
    ClientTls as ClientTls,
    Document as Document,
    OutgoingHttp as OutgoingHttp,
    RedirectRefused as RedirectRefused,
    dial_error as dial_error,
    read_body as read_body,
    tls_context as tls_context,
)
