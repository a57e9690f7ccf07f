"""Bundle and held-out mentions to figures: metrics, baselines, reports, benchmarks."""
