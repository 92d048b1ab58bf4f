"""What measurements say: statistics, comparisons, verdicts."""
