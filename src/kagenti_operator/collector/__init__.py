"""Pure: discovered facts in, OpenTelemetry Collector configuration out."""
