"""Starts a real Apache Kafka of three brokers (KRaft), of which any one may be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.broker import REQUEST_TIMEOUT_S, Broker
from tests.support.children import Child
from tests.support.conditions import wait_until
from tests.support.kafka import CLUSTER_ID, HEAP, JARS, LOGGING, SETTINGS, START_TIMEOUT_S
from tests.support.parts import build, java
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

NODES = (1, 2, 3)
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class Cluster(Broker):
    """Three processes, each broker and controller, with their data below `folder`; topics have three replicas."""

    replication = 3

    def __init__(self, folder: Path) -> None:
        """Start it and wait until all three answer; PartMissingError without Java or jars. Blocks for some 10 s."""
        self._folder = folder
        self._java = java()
        self._jars = JARS.get()
        self._ports = {node: (free_port(), free_port()) for node in NODES}
        self._running: dict[int, Child] = {}
        super().__init__(",".join(f"127.0.0.1:{self._ports[node][0]}" for node in NODES))
        for node in NODES:
            self._format(node)
        for node in NODES:
            self._run(node)
        try:
            self._whole()
        except AssertionError:
            self.stop()
            raise

    def coordinator(self, group: str) -> int:
        """Node that coordinates a group."""
        admin = AdminClient(dict(self.settings))
        asked = admin.describe_consumer_groups([group], request_timeout=REQUEST_TIMEOUT_S)
        return int(asked[group].result(REQUEST_TIMEOUT_S).coordinator.id)

    def kill(self, node: int) -> None:
        """End one at once (SIGKILL)."""
        self._running.pop(node).kill()

    def start(self, node: int) -> None:
        """Start it again on its ports and data; blocks until all three are there."""
        self._run(node)
        self._whole()

    def stop(self) -> None:
        """End all."""
        for child in self._running.values():
            child.kill()  # its data is a temporary folder's
        self._running.clear()

    def _whole(self) -> None:
        wait_until(lambda: self._alive() == len(NODES), START_TIMEOUT_S, "three brokers")

    def _alive(self) -> int:
        for node, child in self._running.items():
            assert child.returncode is None, f"broker {node} ended\n{child.tail()}"
        try:
            found = AdminClient({**self.settings, "log_level": "0"}).list_topics(timeout=2.0)
        except KafkaException:
            return 0
        return len(found.brokers)

    def _run(self, node: int) -> None:
        argv = [self._java, *HEAP, *LOGGING, "-cp", f"{self._jars}/*", "kafka.Kafka", str(self._properties(node))]
        self._running[node] = Child(argv, self._folder / f"broker-{node}.log")

    def _properties(self, node: int) -> Path:
        return self._folder / f"server-{node}.properties"

    def _format(self, node: int) -> None:
        lines = {
            **SETTINGS,
            **REPLICATED,
            "node.id": str(node),
            "log.dirs": str(self._folder / f"data-{node}"),
            "listeners": ",".join(
                f"{name}://127.0.0.1:{port}"
                for name, port in zip(("PLAINTEXT", "CONTROLLER"), self._ports[node], strict=True)
            ),
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._ports[node][0]}",
            "controller.quorum.voters": ",".join(f"{each}@127.0.0.1:{self._ports[each][1]}" for each in NODES),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        properties = self._properties(node)
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        argv = [self._java, "-Xmx128m", "-XX:TieredStopAtLevel=1", *LOGGING, "-cp", f"{self._jars}/*"]
        build([*argv, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)], self._folder)
