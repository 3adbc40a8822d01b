"""Looking at, comparing and correcting runs by hand: `drp inspect`, `drp judge`, and the edits."""
