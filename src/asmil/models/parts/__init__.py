"""What models are made of: layers, pooling, attention among tiles, and their fast forms on a CPU."""
