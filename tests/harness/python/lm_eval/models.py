"""Models register themselves here."""
