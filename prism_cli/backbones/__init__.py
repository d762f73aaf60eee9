"""The bases behind one protocol: what differs between two of them lives here and nowhere above."""
