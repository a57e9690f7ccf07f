"""The HTTP endpoint and the bulk scorer."""
