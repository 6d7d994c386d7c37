"""What tasks are made of: reading of targets, scores, the protocol of a task."""
