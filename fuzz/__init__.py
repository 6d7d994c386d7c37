"""Damaged and hostile inputs for every reader: `make fuzz`. Outside CI, as it takes minutes to hours."""
