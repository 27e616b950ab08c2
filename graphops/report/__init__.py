"""What a run or a pass did, as tables, JSON and pictures."""
