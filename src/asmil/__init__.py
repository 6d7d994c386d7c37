"""Attention-stabilised multiple-instance learning on whole-slide images."""
