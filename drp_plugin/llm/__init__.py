"""Talking to any model over the wire, with a ledger: nothing is asked twice, nothing is lost."""
