"""Starts a real Apache Kafka broker (KRaft, one node) from its Maven Central jars."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.broker import Broker
from tests.support.children import Child
from tests.support.parts import COPY, ROOT, Part, build, java, tool
from tests.support.ports import free_port
from tests.support.tls import Certificate, self_signed

if TYPE_CHECKING:
    from pathlib import Path

KAFKA_VERSION = "4.1.1"
START_TIMEOUT_S = 60.0
START_TRIES_MAX = 3
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"
HEAP = ("-Xmx512m", "-Xms96m", "-XX:+UseSerialGC", "-Xshare:auto")
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
SECURED = ("SASL", "TLS", "SASL_TLS")
USER, PASSWORD = "hookline", "only-for-tests"  # of a broker that lives in a temp folder and listens on loopback

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    # A killed broker is known to be gone, and may register again, after this; 9 s by default.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    "group.initial.rebalance.delay.ms": "0",
    # Tests may ask for short sessions, so that a killed member is missed in seconds.
    "group.min.session.timeout.ms": "500",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "500",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # One small machine runs broker, worker and receivers.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.preallocate": "false",
    "log.segment.bytes": "67108864",
    "log.index.size.max.bytes": "1048576",
}


@dataclass(frozen=True)
class Security:
    """How to reach a secured broker: ready `kafka` settings (librdkafka names) by kind of listener."""

    plain: dict[str, str]
    scram: dict[str, str]
    tls: dict[str, str]
    scram_tls: dict[str, str]


class RealKafka(Broker):
    """One broker process with its data in `folder`; `stop`, `kill`, `start` and `restart` keep ports and data."""

    def __init__(self, folder: Path, *, secured: bool = False, advertised: int = 0) -> None:
        """Start it and wait until it answers (about 3 s); PartMissingError without Java or jars.

        With `advertised` there is a listener `proxied_port`, too, that sends its clients to that port instead.
        """
        self.folder = folder
        self.log = folder / "broker.log"
        self._secured = secured
        self._advertised = advertised
        self.proxied_port = 0
        self._java = java()
        self._jars = JARS.get()
        self._child: Child | None = None
        self._certificate = self_signed(folder) if secured else None
        for attempt in range(1, START_TRIES_MAX + 1):
            self._ports = {name: free_port() for name in ("PLAINTEXT", "CONTROLLER", *SECURED)}
            self.proxied_port = free_port() if advertised else 0
            try:
                self._format()
                super().__init__(f"127.0.0.1:{self._ports['PLAINTEXT']}")
                self._start()
            except AssertionError:
                if attempt == START_TRIES_MAX:  # a port may have been taken in between; anything else fails again
                    raise
            else:
                return

    @property
    def pid(self) -> int:
        """Process ID of the running broker."""
        assert self._child is not None, "the broker is not running"
        return self._child.pid

    @property
    def security(self) -> Security:
        """Client settings for the SASL, TLS and SASL-over-TLS listeners of a broker started with `secured=True`."""
        assert self._certificate is not None, "start the broker with secured=True"
        sasl = {
            "bootstrap.servers": f"127.0.0.1:{self._ports['SASL']}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }
        tls = {
            "bootstrap.servers": f"localhost:{self._ports['TLS']}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(self._certificate.certificate),
        }
        scram = {**sasl, "sasl.mechanisms": "SCRAM-SHA-256"}
        both = {
            "bootstrap.servers": f"localhost:{self._ports['SASL_TLS']}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": tls["ssl.ca.location"],
        }
        return Security(plain={**sasl, "sasl.mechanisms": "PLAIN"}, scram=scram, tls=tls, scram_tls={**scram, **both})

    def stop(self) -> None:
        """End it in good order (SIGTERM)."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def start(self) -> None:
        """Start it again after `stop` or `kill`, on the same ports and data; blocks until it answers."""
        assert self._child is None, "the broker is running"
        self._start()

    def restart(self) -> None:
        """Stop it in good order and start it again."""
        self.stop()
        self.start()

    def _start(self) -> None:
        argv = [
            self._java,
            *HEAP,
            *LOGGING,
            "-cp",
            f"{self._jars}/*",
            "kafka.Kafka",
            str(self.folder / "server.properties"),
        ]
        self._child = Child(argv, self.log)
        try:
            self._child.wait_ready(self._listening, START_TIMEOUT_S)
            self._child.wait_ready(self.reachable, START_TIMEOUT_S)
        except AssertionError:
            self.kill()
            raise

    def _listening(self) -> bool:
        """Ask the port first: librdkafka backs off after a refused connection, and would find the broker late."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self._ports["PLAINTEXT"])) == 0

    def _format(self) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        lines = {**SETTINGS, "log.dirs": str(self.folder / "data"), **self._listeners()}
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        argv = [self._java, "-Xmx128m", "-XX:TieredStopAtLevel=1", *LOGGING, "-cp", f"{self._jars}/*"]
        argv += ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
        if self._secured:
            argv += ["--add-scram", f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"]
        build(argv, self.folder)

    def _listeners(self) -> dict[str, str]:
        names = ["PLAINTEXT", "CONTROLLER", *(SECURED if self._secured else ())]
        hosts = {"TLS": "localhost", "SASL_TLS": "localhost"}
        listeners = {name: f"{name}://{hosts.get(name, '127.0.0.1')}:{self._ports[name]}" for name in names}
        protocols = (
            "PROXIED:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SASL_TLS:SASL_SSL"
        )
        advertised = [listeners[name] for name in names if name != "CONTROLLER"]
        if self._advertised:
            listeners["PROXIED"] = f"PROXIED://127.0.0.1:{self.proxied_port}"
            advertised.append(f"PROXIED://127.0.0.1:{self._advertised}")
        settings = {
            "listeners": ",".join(listeners.values()),
            "advertised.listeners": ",".join(advertised),
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
            "listener.security.protocol.map": protocols,
        }
        return settings | _security(self._certificate) if self._certificate else settings


def _security(certificate: Certificate) -> dict[str, str]:
    module = "org.apache.kafka.common.security"
    return {
        # Whoever comes in without a name may do everything, others what no ACL denies them.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.sasl_tls.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.sasl_tls.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        **{f"listener.name.{name}.ssl.keystore.type": "PEM" for name in ("tls", "sasl_tls")},
        **{f"listener.name.{name}.ssl.keystore.location": str(certificate.bundle) for name in ("tls", "sasl_tls")},
    }


def _fetch(folder: Path) -> None:
    pom = ROOT / "tests" / "support" / "kafka-pom.xml"
    build([tool("mvn"), "-q", "-B", "-f", str(pom), f"{COPY}:copy-dependencies", f"-DoutputDirectory={folder}"], folder)


JARS = Part(f"kafka-{KAFKA_VERSION}", f"Apache Kafka {KAFKA_VERSION} (43 MB)", _fetch)
