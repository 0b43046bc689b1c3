"""The paper's systems in PyTorch, and how numbers are handed over; needs numpy and torch."""
