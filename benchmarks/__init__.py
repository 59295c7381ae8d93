"""What a decision costs, beside the others."""
