"""Measure the speed of erde, relative to baselines measured in the same run."""
