"""One run: open model and data, plan, compute with resume, records for the report."""
