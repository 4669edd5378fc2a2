"""Drawing results for people: Rich renderables. Nothing is decided here."""
