"""What the DAG is made of: runs of the ingestor, and the audit of what became of them."""
