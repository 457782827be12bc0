"""A broker with TLS, client certificates, SCRAM, OAUTHBEARER and ACLs, and users of all roles."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import local_kafka
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from identity import Authority, TokenEndpoint

from benchmarks.brokers.node import HOST, free_ports
from stream_allocator.stream.roles import ROLES

__all__ = ["KEY_PASSWORD", "SECRETS", "Secured", "secured_broker"]

USERS = ("admin", "nobody", *(role.name for role in ROLES))
#: User -> password, and secret at the token endpoint.
SECRETS = {user: f"{user}-s3cret-{os.urandom(6).hex()}" for user in USERS}
KEY_PASSWORD = f"key-s3cret-{os.urandom(6).hex()}"


@dataclass(frozen=True, slots=True)
class Secured:
    """Where the broker listens, and what its clients need to know."""

    sasl: str
    tls: str
    inside: str
    authority: Authority
    tokens: TokenEndpoint

    def security(self, how: str = "scram", user: str = "worker") -> dict[str, Any]:
        """The topology's section for a way to log in; files name the user only for certificates."""
        ca = {"ca_location": str(self.authority.ca)}
        if how == "certificate":
            certificate = self.authority.folder / f"{user}.pem"
            key = self.authority.folder / f"{user}-key.pem"
            files = {"certificate_location": str(certificate), "key_location": str(key)}
            return {"protocol": "SSL", **ca, **files}
        if how == "token":
            endpoint = {"mechanism": "OAUTHBEARER", "token_endpoint": f"{self.tokens.url}/token"}
            return {"protocol": "SASL_SSL", **ca, **endpoint}
        return {"protocol": "SASL_SSL", **ca}


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """One broker with two secured listeners; its own listener, for tests to look from, is plain."""
    authority = Authority(folder)
    certificate, key = authority.issue("broker")
    for user in ("worker", "feeder"):
        authority.issue(user, password=KEY_PASSWORD)
    store = folder / "keystore.pem"
    store.write_text(key.read_text() + certificate.read_text())
    tokens = TokenEndpoint(folder, SECRETS)
    sasl, tls, inside, controller = free_ports(4)
    kafka = "org.apache.kafka.common.security"
    oauth = "listener.name.client.oauthbearer.sasl"
    settings = {
        "listeners": f"CLIENT://{HOST}:{sasl},TLS://{HOST}:{tls},BROKER://{HOST}:{inside},"
        f"CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"CLIENT://{HOST}:{sasl},TLS://{HOST}:{tls},BROKER://{HOST}:{inside}",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": "CLIENT:SASL_SSL,TLS:SSL,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.client.scram-sha-512.sasl.jaas.config": f"{kafka}.scram.ScramLoginModule required;",
        f"{oauth}.jaas.config": f"{kafka}.oauthbearer.OAuthBearerLoginModule required;",
        f"{oauth}.server.callback.handler.class": f"{kafka}.oauthbearer.OAuthBearerValidatorCallbackHandler",
        "sasl.oauthbearer.jwks.endpoint.url": f"{tokens.url}/jwks",
        "sasl.oauthbearer.expected.audience": TokenEndpoint.AUDIENCE,
        "sasl.oauthbearer.expected.issuer": tokens.url,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "listener.name.tls.ssl.client.auth": "required",
        "listener.name.tls.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",  # ANONYMOUS: the broker itself, on its own listener
    }
    before = os.environ.get("JAVA_TOOL_OPTIONS")
    os.environ["JAVA_TOOL_OPTIONS"] = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.url}/jwks"
    try:
        with local_kafka(settings):
            admin = AdminClient({"bootstrap.servers": f"{HOST}:{inside}"})
            scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            wanted = [UserScramCredentialUpsertion(u, scram, p.encode()) for u, p in SECRETS.items()]
            for future in admin.alter_user_scram_credentials(wanted).values():
                future.result(20)
            yield Secured(*(f"{HOST}:{port}" for port in (sasl, tls, inside)), authority, tokens)
    finally:
        tokens.close()
        if before is None:
            os.environ.pop("JAVA_TOOL_OPTIONS", None)
        else:
            os.environ["JAVA_TOOL_OPTIONS"] = before
