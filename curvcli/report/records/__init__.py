"""What a run hands to a report: plain frozen records, and what follows from their arrays."""
