"""What can come in on the input topics, good and bad, and what must become of each."""
