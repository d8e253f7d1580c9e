"""From tracked boxes to joints: windows, crops, batches."""
