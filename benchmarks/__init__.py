"""What a decision costs and how right it is, beside the others."""
