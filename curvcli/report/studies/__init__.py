"""What each study keeps in a report: its tables, one file per study."""
