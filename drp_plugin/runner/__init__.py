"""Running a flow over many rows: scheduled, stored, counted, resumable."""
