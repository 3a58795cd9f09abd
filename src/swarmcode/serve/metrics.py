"""What the server tells Prometheus: how requests ended, what the engine is doing, and how long clients waited."""

from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swarmcode.engine.protocol import Load

Outcome = Literal["answered", "refused", "overloaded", "cancelled", "failed"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """Counts for one server. `load` tells what its engine is doing."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_EngineLoad(load))
        self._requests = Counter(
            "swarmcode_requests", "Requests by endpoint and outcome.", ("endpoint", "outcome"), registry=self._registry
        )
        self._first = Histogram(
            "swarmcode_time_to_first_token_seconds",
            "From a request that was taken to its first token.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._whole = Histogram(
            "swarmcode_request_seconds",
            "From a request that was taken to the end of its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def ended(self, endpoint: str, outcome: Outcome) -> None:
        """A request has ended."""
        self._requests.labels(endpoint, outcome).inc()

    def spoke(self, seconds: float) -> None:
        """A request has got its first token."""
        self._first.observe(seconds)

    def answered(self, seconds: float) -> None:
        """A request has got its whole answer."""
        self._whole.observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineLoad(Collector):
    """What the engine counts by itself."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        sequences = GaugeMetricFamily("swarmcode_sequences", "Sequences in the engine.", labels=("state",))
        sequences.add_metric(("running",), load.running)
        sequences.add_metric(("waiting",), load.waiting)
        yield sequences
        tokens = CounterMetricFamily(
            "swarmcode_tokens",
            "Tokens of prompts that were computed (prefilled) and that were not (reused), and tokens drawn (decoded).",
            labels=("kind",),
        )
        for kind in ("prefilled", "reused", "decoded"):
            tokens.add_metric((kind,), getattr(load.usage, kind))
        yield tokens
        yield CounterMetricFamily("swarmcode_compute_seconds", "Seconds spent computing.", value=load.usage.seconds)
