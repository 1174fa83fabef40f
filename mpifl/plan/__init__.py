"""What a run would be and cost, before it is run."""
