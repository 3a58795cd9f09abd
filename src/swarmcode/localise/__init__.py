"""Issue, failures and coverage -> ranked suspects."""
