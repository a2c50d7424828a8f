"""What Prometheus may know of the server: requests by result, how long they took, batches, what waits."""

from __future__ import annotations

from collections.abc import Callable

import prometheus_client as prometheus
from prometheus_client.exposition import choose_encoder

SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "framework_requests", "Requests by page and HTTP status.", ["page", "status"], registry=self.registry
        )
        self.seconds = prometheus.Histogram(
            "framework_request_seconds",
            "From a request's header to the end of its answer.",
            ["page"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_size = prometheus.Histogram(
            "framework_batch_images",
            "Images that the network got at once.",
            buckets=BATCHES,
            registry=self.registry,
        )
        self.batch_seconds = prometheus.Histogram(
            "framework_batch_seconds", "The network on one batch.", buckets=SECONDS, registry=self.registry
        )
        prometheus.ProcessCollector(registry=self.registry)

    def request(self, page: str, status: int, seconds: float) -> None:
        """Count a request that is done."""
        self.requests.labels(page, str(status)).inc()
        self.seconds.labels(page).observe(seconds)

    def batch(self, size: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)

    def watch(self, name: str, says: str, read: Callable[[], float]) -> None:
        """Show a value as it is when asked for."""
        prometheus.Gauge(name, says, registry=self.registry).set_function(read)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All figures and their content type, in the form of Prometheus or of OpenMetrics."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind
